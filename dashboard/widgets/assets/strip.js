// What is broken now: links that filter the fleet or open a page. Entries are reused between refreshes, so the focus stays.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".df-strip"), list = root.firstElementChild;
  root.setAttribute("aria-label", data.name);
  while (list.children.length > data.links.length) list.lastChild.remove();
  data.links.forEach(({ text, tone, href: address }, i) => {
    const href = "." + address;
    const item = list.children[i] ?? list.appendChild(document.createElement("li"));
    const link = item.firstChild ?? item.appendChild(document.createElement("a"));
    link.className = `df-chip df-${tone}`;
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    if (link.textContent !== text) link.textContent = text;
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      setTriggerValue("opened", i);
    };
  });
}
