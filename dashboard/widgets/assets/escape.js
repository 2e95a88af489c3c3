// Let Escape close a dialog even while nothing has the focus, such as after the button of a step has disappeared:
// Streamlit handles the key only inside the dialog. One that a click beside it does not close has a button to cancel:
// Escape presses it while nothing was entered.
//
// When a dialog has gone, the focus returns to where it was before: Streamlit loses it now and then, when a refresh comes in
// between. If that goes with what the dialog changed, such as a row that the next refresh removes, it goes to what is next
// to it.
(() => {
  if (window.dashfleetEscape) return;
  window.dashfleetEscape = true;
  const CANCEL = "[class*=st-key-dialog-][class*=-cancel] button";
  const CHOICES = "input, textarea, [role=combobox], [role=checkbox], [role=radio], [data-baseweb=select], label";

  const DIALOG = ".stDialog [role=dialog]", SOON = 50, SETTLED = 10_000;
  const FOCUSABLE = "a[href], button:not([disabled]), input:not([disabled]), [tabindex='0']";
  let before = null, around = [], open = false, closedAt = 0;

  addEventListener("focusin", (event) => {
    if (open || event.target.closest?.(".stDialog")) return;
    before = event.target;
    around = [];
    for (let each = before.parentElement; each && each !== document.body; each = each.parentElement) around.push(each);
  }, { capture: true });

  new MutationObserver(() => {
    const closed = open && !document.querySelector(DIALOG);
    open = Boolean(document.querySelector(DIALOG));
    if (closed) {
      closedAt = Date.now();
      setTimeout(giveBack, SOON);
    } else if (before && !before.isConnected && Date.now() - closedAt < SETTLED) {
      giveBack();
    }
  }).observe(document.body, { childList: true, subtree: true });

  function giveBack() {
    if (open || document.activeElement !== document.body || !before) return;
    if (before.isConnected) return before.focus({ preventScroll: true });
    const near = around.filter((each) => each.isConnected).map((each) => each.querySelector(FOCUSABLE)).find(Boolean);
    near?.focus();
  }

  const dialogOf = (event) => event.target.closest?.(DIALOG);
  function touched(event) {
    const dialog = dialogOf(event);
    if (dialog && (event.type === "input" || event.target.closest(CHOICES))) dialog.dataset.touched = "true";
  }
  for (const name of ["input", "click"]) addEventListener(name, touched, { capture: true });

  addEventListener("keydown", (event) => {
    const dialog = document.querySelector(DIALOG);
    if (event.key !== "Escape" || !dialog) return;
    const cancel = dialog.querySelector(CANCEL);
    if (cancel && !cancel.closest("[data-retained]")) {
      if (!dialog.dataset.touched && !document.querySelector("[role=listbox]")) cancel.click();
    } else if (event.target === document.body)
      dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", code: "Escape", bubbles: true, cancelable: true }));
  }, { capture: true });
})();
