// Escape closes a dialog also while nothing has the focus, such as between a step whose button is taken away and the
// next: Streamlit hears it only from within.
(() => {
  if (window.dashfleetEscape) return;
  window.dashfleetEscape = true;
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.target !== document.body) return;
    const dialog = document.querySelector(".stDialog [role=dialog]");
    dialog?.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", code: "Escape", bubbles: true, cancelable: true }));
  });
})();
