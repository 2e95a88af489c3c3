// The counts above the fleet: buttons that filter. A button is known by its code, and moved only if its place is another
// one, so that the focus and a click stay with it when others come and go.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".df-cards");
  root.setAttribute("aria-label", data.name);
  const known = new Map([...root.children].map((button) => [button.dataset.code, button]));
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  data.cards.forEach((card, i) => {
    const button = known.get(card.code) ?? make(card.code);
    known.delete(card.code);
    button.className = `df-card df-${card.tone}${card.apart ? " df-apart" : ""}`;
    button.setAttribute("aria-pressed", String(card.pressed));
    button.onclick = () => setTriggerValue("pressed", card.code);
    set(button.children[0], card.count);
    set(button.children[1], card.label);
    if (root.children[i] !== button) root.insertBefore(button, root.children[i] ?? null);
  });
  for (const gone of known.values()) gone.remove();
  // A button that moves loses the focus.
  if (focused?.isConnected) focused.focus({ preventScroll: true });
}

function make(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.code = code;
  button.append(document.createElement("strong"), document.createElement("span"));
  return button;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
