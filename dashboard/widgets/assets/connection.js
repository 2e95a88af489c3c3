// Say on a page that stays empty why: its WebSocket cannot be established. Part of the page itself, as nothing else arrives.
(() => {
  const PATIENCE = 10_000, text = document.currentScript.dataset.text, began = Date.now();
  let note = null;
  const timer = setInterval(() => {
    if (document.querySelector(".stApp")?.dataset.testConnectionState === "CONNECTED") {
      clearInterval(timer);
      note?.remove();
    } else if (!note && Date.now() - began > PATIENCE) {
      note = document.createElement("p");
      note.setAttribute("role", "alert");
      note.textContent = text;
      note.style.cssText = "position:fixed;z-index:1000000;inset:0 0 auto;margin:0;padding:12px 16px;" +
        "background:#7a1f1f;color:#fff;font:15px/1.4 system-ui,sans-serif";
      document.body.append(note);
    }
  }, 500);
})();
