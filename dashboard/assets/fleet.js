// The fleet as a real table: rows are reused by machine id and cells are touched only when they change, so that a
// refresh moves figures and nothing else. Text is always set as text; nothing here reads HTML.
const ORDER_IDLE = 30000;

export default function ({ data, parentElement, setTriggerValue }) {
  const table = parentElement.querySelector("table");
  table.setAttribute("aria-rowcount", String(data.total));
  head(table.tHead.rows[0], data.columns, setTriggerValue);
  body(table.tBodies[0], data, setTriggerValue);
  watch(table, data, setTriggerValue);
}

function head(row, columns, trigger) {
  while (row.cells.length < columns.length) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.append(document.createElement("button"));
    row.append(cell);
  }
  columns.forEach((column, i) => {
    const cell = row.cells[i], button = cell.firstChild;
    cell.className = `df-col-${column.code}`;
    cell.setAttribute("aria-sort", column.sorted);
    button.type = "button";
    set(button, column.label);
    button.onclick = () => trigger("sorted", column.code);
  });
}

function body(rows, data, trigger) {
  const known = new Map([...rows.rows].map((row) => [row.dataset.id, row]));
  data.rows.forEach((machine, i) => {
    const row = known.get(machine.id) ?? make(machine.id, data.columns);
    known.delete(machine.id);
    row.onclick = (event) => open(event, machine, trigger);
    machine.cells.forEach((cell, j) => fill(row.cells[j], cell, machine));
    if (rows.rows[i] !== row) rows.insertBefore(row, rows.rows[i] ?? null);
  });
  for (const gone of known.values()) gone.remove();
}

function make(id, columns) {
  const row = document.createElement("tr");
  row.dataset.id = id;
  for (const column of columns) row.insertCell().className = `df-col-${column.code}`;
  return row;
}

// Opens in this tab; with a modifier, or from the link with the middle button, the browser does what it always does.
function open(event, machine, trigger) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || String(getSelection())) return;
  event.preventDefault();
  trigger("opened", machine.id);
}

function fill(cell, content, machine) {
  const wanted = JSON.stringify(content);
  if (cell.dataset.shown === wanted) return;
  cell.dataset.shown = wanted;
  if (content.kind === "bar" && cell.firstChild) return bar(cell, content);
  cell.replaceChildren(...KINDS[content.kind](content, machine));
  if (content.kind === "bar") bar(cell, content);
}

const KINDS = {
  name: ({ text, detail }, machine) => {
    const link = node("a", "df-name", text);
    link.href = machine.href;
    return detail ? [link, node("span", "df-sub", detail)] : [link];
  },
  chip: ({ text, tone, hint }) => [titled(node("span", `df-chip df-${tone}`, text), hint)],
  text: ({ text, hint }) => [titled(node("span", "", text), hint)],
  bar: () => {
    const track = node("span", "df-track", "");
    track.append(document.createElement("span"));
    return [node("span", "df-percent", ""), track];
  },
};

function bar(cell, { text, tone, percent }) {
  set(cell.firstChild, text);
  cell.lastChild.className = `df-track df-${tone}`;
  cell.lastChild.firstChild.style.width = `${percent ?? 0}%`;
}

// When nobody has touched the table for a while and its order is old, ask for a fresh one: for screens on a wall.
function watch(table, data, trigger) {
  if (!table.dataset.touched) {
    table.dataset.touched = "0";
    for (const name of ["pointermove", "focusin", "keydown", "wheel", "touchstart"])
      table.addEventListener(name, () => { table.dataset.touched = String(Date.now()); }, { passive: true });
  }
  const idle = Date.now() - Number(table.dataset.touched) > ORDER_IDLE && !table.contains(document.activeElement);
  if (idle && data.order_age > ORDER_IDLE) trigger("aged", data.order_age);
}

function node(name, kind, text) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  return made;
}

function titled(made, hint) {
  if (hint) made.title = hint;
  return made;
}

function set(made, text) {
  if (made.textContent !== text) made.textContent = text;
}
