// The counts above the fleet: buttons that filter. Buttons are reused between refreshes, so the focus stays.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".df-cards");
  root.setAttribute("aria-label", data.name);
  const known = new Map([...root.children].map((button) => [button.dataset.code, button]));
  for (const card of data.cards) {
    const button = known.get(card.code) ?? make(card.code);
    known.delete(card.code);
    button.className = `df-card df-${card.tone}${card.apart ? " df-apart" : ""}`;
    button.setAttribute("aria-pressed", String(card.pressed));
    button.onclick = () => setTriggerValue("pressed", card.code);
    set(button.children[0], card.count);
    set(button.children[1], card.label);
    root.append(button);
  }
  for (const gone of known.values()) gone.remove();
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
