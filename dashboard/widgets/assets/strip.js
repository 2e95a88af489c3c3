// What is broken now: links that filter the fleet or open a page. An entry is known by its address, so that the focus and a
// click stay with it when others come and go.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".df-strip"), list = root.firstElementChild;
  root.setAttribute("aria-label", data.name);
  root.hidden = !data.links.length;
  const known = new Map([...list.children].map((item) => [item.dataset.opens, item]));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  data.links.forEach(({ text, tone, href }, i) => {
    const item = known.get(href) ?? make(href);
    known.delete(href);
    const link = item.firstChild;
    link.className = `df-chip df-${tone}`;
    if (link.textContent !== text) link.textContent = text;
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      setTriggerValue("opened", href);
    };
    if (list.children[i] !== item) list.insertBefore(item, list.children[i] ?? null);
  });
  for (const gone of known.values()) gone.remove();
  // An entry that moves loses the focus.
  if (focused?.isConnected) focused.focus({ preventScroll: true });
}

function make(href) {
  const item = document.createElement("li"), link = document.createElement("a");
  item.dataset.opens = href;
  link.href = "." + href;
  item.append(link);
  return item;
}
