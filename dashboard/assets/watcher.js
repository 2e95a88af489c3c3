// Says so when the dashboard cannot be reached, and leads to the sign-in when the session has ended. Streamlit alone
// would freeze without a word.
(() => {
  if (window.dashfleetWatcher) return;
  window.dashfleetWatcher = true;
  const PERIOD = 3000, PATIENCE = 8000;
  let heard = Date.now(), active = true, note = null;

  for (const name of ["pointerdown", "keydown", "wheel", "touchstart"])
    addEventListener(name, () => { active = true; }, { passive: true, capture: true });

  function show(since) {
    if (!note) {
      note = document.createElement("div");
      note.className = "df-lost";
      note.setAttribute("role", "alert");
      document.body.append(note);
    }
    const time = new Date(since).toLocaleTimeString([], { hour12: false });
    note.textContent = `No connection to the dashboard since ${time}. What you see is from then. Trying again …`;
  }

  async function ask() {
    const used = active;
    try {
      const answer = await fetch(used ? "/whoami?active" : "/whoami", {
        cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PERIOD + 1000),
      });
      if (answer.status === 401) {
        location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
        return;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      if (used) active = false;
      heard = Date.now();
      note?.remove();
      note = null;
    } catch {
      if (Date.now() - heard > PATIENCE) show(heard);
    }
    setTimeout(ask, PERIOD);
  }
  ask();
})();
