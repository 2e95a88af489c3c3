// Show a notice while the dashboard cannot be reached, and redirect to the sign-in when the session has ended. Streamlit
// alone would freeze without a notice.
(() => {
  if (window.dashfleetWatcher) return;
  window.dashfleetWatcher = true;
  // Together under ten seconds, also with a server that accepts the request and never answers.
  const PERIOD = 3000, PATIENCE = 5000;
  const ACTING = ".st-key-selection, .st-key-machine_title, [class*=st-key-activity-cancel], .stDialog";
  let heard = Date.now(), waiting = null, active = true, note = null, next = 0, cut = false;

  for (const name of ["pointerdown", "keydown", "wheel", "touchstart"])
    addEventListener(name, () => { active = true; }, { passive: true, capture: true });

  function show(since) {
    if (!note) {
      note = document.createElement("div");
      note.className = "df-lost";
      note.setAttribute("role", "alert");
      document.body.append(note);
    }
    const time = new Date(since).toLocaleTimeString(window.dashfleet.language, { hour12: false });
    const text = window.dashfleet.lost.replace("{time}", time);
    if (note.textContent !== text) note.textContent = text;
    for (const each of document.querySelectorAll(ACTING)) each.inert = true;
  }

  function hide() {
    note?.remove();
    note = null;
    for (const each of document.querySelectorAll(ACTING)) each.inert = false;
  }

  async function ask() {
    const used = active;
    next = 0;
    waiting ??= Date.now();
    try {
      const answer = await fetch(used ? "./whoami?active" : "./whoami", {
        cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PERIOD + 1000),
      });
      if (answer.status === 401) {
        location.assign("./sign-in?next=" + encodeURIComponent(location.pathname + location.search));
        return;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      if (used) active = false;
      heard = Date.now();
      waiting = null;
      if (note) hide();
    } catch {
      // `waiting` has the time of the first failure
    }
    next = setTimeout(ask, PERIOD);
  }

  // The server closes the connection of a session that has ended: check at once if that was the reason.
  function askWhenCut() {
    const before = cut;
    cut = document.querySelector(".stApp")?.dataset.testConnectionState !== "CONNECTED";
    if (!cut || before || !next) return;
    clearTimeout(next);
    ask();
  }

  // Streamlit's own dialog covers ours and asks about the internet connection.
  function closeStreamlitsOwn() {
    for (const dialog of document.querySelectorAll(".stDialog"))
      if (!dialog.querySelector("[class*=df-]")) dialog.querySelector("button[aria-label=Close]")?.click();
  }

  setInterval(() => {
    askWhenCut();
    if (cut) closeStreamlitsOwn();
    if (waiting && Date.now() - waiting > PATIENCE) show(heard);
  }, 500);
  ask();
})();
