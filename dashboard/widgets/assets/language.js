// Set the language of the page, and store the user's choice in a cookie, which the sign-in page reads.
//
// Streamlit's own texts are English: labels of buttons, hints and a few others. They are replaced by their translation,
// also when Streamlit draws them again, or when they are in the previous language. Other texts are left alone, except that
// names of inputs lose their escapes: Streamlit reads a label as Markdown where it is seen, but not where it is spoken.
(() => {
  const { language, chosen, words } = window.dashfleet;
  document.documentElement.lang = language;
  if (chosen) document.cookie = `${chosen}=${language}; path=/; max-age=31536000; samesite=lax`;

  const NAMES = ["aria-label", "title", "placeholder"], OURS = "[class*=df-], code, pre, [data-testid=stMarkdownContainer]";
  const ESCAPED = /\\([!-/:-@[-`{-~])/g;
  const known = (window.dashfleetWords ??= { watched: false, parts: new Map() });
  for (const [said, ours] of Object.entries(words)) {
    for (const [before, part] of known.parts) if (part.said === said) known.parts.set(before, { said, ours });
    known.parts.set(said, { said, ours }).set(ours, { said, ours });
  }

  function translated(text) {
    const exact = known.parts.get(text);
    if (exact) return exact.ours;
    for (const [before, { ours }] of known.parts) {
      const [start, end] = before.split(/\{\w+\}/);
      if (end !== undefined && text.startsWith(start) && text.endsWith(end)) {
        const inside = text.slice(start.length, text.length - end.length);
        return ours.replace(/\{\w+\}/, () => inside);
      }
    }
    return text;
  }

  function name(element) {
    for (const each of NAMES) {
      const before = element.getAttribute(each);
      const after = before && translated(each === "aria-label" ? before.replace(ESCAPED, "$1") : before);
      if (after !== before) element.setAttribute(each, after);
    }
  }

  function read(node) {
    if (node.nodeType === Node.TEXT_NODE) {
      const after = translated(node.data);
      if (after !== node.data) node.data = after;
    } else if (node.nodeType === Node.ELEMENT_NODE && !node.matches(OURS)) {
      name(node);
      node.childNodes.forEach(read);
    }
  }

  read(document.body);
  if (known.watched) return;
  known.watched = true;
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (target.closest(OURS)) continue;
      if (type === "attributes") name(target);
      else addedNodes.forEach(read);
    }
  }).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: NAMES });
})();
