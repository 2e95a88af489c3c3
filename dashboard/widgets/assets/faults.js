// Tie what is wrong with an input to it, as Streamlit has no error of a field: assistive technology reads the text with
// the input, which is marked as invalid, and the first one that a check refuses gets the focus.
(() => {
  if (window.dashfleetFaults) return;
  window.dashfleetFaults = true;
  const INPUT = "input, textarea, [role=combobox], [role=radiogroup]";
  const seen = new Set();

  function inputOf(fault) {
    const place = fault.closest(".stElementContainer");
    return place?.previousElementSibling?.querySelector(INPUT);
  }

  function describe(input, ids) {
    if (ids) input.setAttribute("aria-describedby", ids);
    else input.removeAttribute("aria-describedby");
  }

  function untie(present) {
    for (const input of document.querySelectorAll("[data-fault]")) {
      if (present.get(input)?.id === input.dataset.fault) continue;
      input.removeAttribute("aria-invalid");
      describe(input, input.dataset.described);
      delete input.dataset.fault;
      delete input.dataset.described;
    }
  }

  function tie() {
    const present = new Map();
    for (const fault of document.querySelectorAll(".df-fault")) {
      const input = inputOf(fault);
      if (input) present.set(input, fault);
    }
    untie(present);
    for (const [input, fault] of present) {
      if (input.dataset.fault === fault.id && input.ariaInvalid === "true") continue;
      input.dataset.described ??= input.getAttribute("aria-describedby") ?? "";
      input.dataset.fault = fault.id;
      input.setAttribute("aria-invalid", "true");
      describe(input, `${input.dataset.described} ${fault.id}`.trim());
    }
    const fresh = [...present].filter(([, fault]) => !seen.has(fault.id));
    for (const [, fault] of fresh) seen.add(fault.id);
    const busy = document.activeElement?.matches("input, textarea");
    if (fresh.length && !busy) fresh[0][0].focus();
  }

  new MutationObserver(tie).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["aria-invalid"],
  });
})();
