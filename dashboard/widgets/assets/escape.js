// Let Escape close a dialog even while nothing has the focus, such as after the button of a step has disappeared:
// Streamlit handles the key only inside the dialog.
(() => {
  if (window.dashfleetEscape) return;
  window.dashfleetEscape = true;
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.target !== document.body) return;
    const dialog = document.querySelector(".stDialog [role=dialog]");
    dialog?.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", code: "Escape", bubbles: true, cancelable: true }));
  });
})();
