// An HTML table: rows are reused by id and cells are touched only when they change, so that a refresh updates values and
// nothing else; the focus stays with a row that moves. Text is always set as text, never as HTML.
//
// Ticks belong to ids, never to positions. All changes of the visitor are kept until the server starts a new `revision`,
// and sent as a whole each time, so that no tick is lost when two follow each other quickly.
const ORDER_IDLE = 30000, OUTDATED_IDLE = 3000;

export default function ({ data: { shapes, cells, ...rest }, parentElement, setTriggerValue, setStateValue }) {
  const data = { ...rest, rows: unpacked({ shapes, cells, rows: rest.rows }) };
  const table = parentElement.querySelector("table");
  name(table, data.name);
  table.setAttribute("aria-rowcount", String(data.total));
  const ticks = data.ticks ? ticking(table, data, setStateValue) : null;
  renew(table, data);
  head(table.tHead.rows[0], data, ticks, setTriggerValue);
  body(table.tBodies[0], data, ticks, setTriggerValue);
  watch(table, data, setTriggerValue);
  if (data.remember) document.cookie = `${data.remember}; path=/; max-age=31536000; samesite=lax`;
}

// Decode the rows of `table.packed`: numbers of cells; a cell is the number of a shape, which names the following values.
function unpacked({ shapes, cells, rows }) {
  const known = cells.map(([shape, ...values]) => {
    const [kind, ...names] = shapes[shape];
    return { kind, ...Object.fromEntries(names.map((name, i) => [name, values[i]])) };
  });
  return rows.map(([id, href, ...numbers]) => ({ id, href, cells: numbers.map((number) => known[number]) }));
}

// With other columns than before, nothing can be reused.
function renew(table, { columns }) {
  const codes = columns.map(({ code }) => code).join();
  if (table.dataset.columns !== undefined && table.dataset.columns !== codes) {
    table.tHead.rows[0].replaceChildren();
    table.tBodies[0].replaceChildren();
  }
  table.dataset.columns = codes;
}

function head(row, data, ticks, trigger) {
  if (!row.cells.length) {
    if (ticks) row.append(tickCell("th"));
    for (const column of data.columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.append(document.createElement(column.sorted ? "button" : "span"));
      row.append(cell);
    }
  }
  if (ticks) name(row.cells[0].firstChild, data.tick_all);
  data.columns.forEach((column, i) => {
    const cell = row.cells[i + (ticks ? 1 : 0)], inner = cell.firstChild;
    cell.className = `df-col-${column.code}`;
    set(inner, column.label);
    if (!column.sorted) return;
    cell.setAttribute("aria-sort", column.sorted);
    inner.type = "button";
    inner.onclick = () => trigger("sorted", column.code);
  });
}

function body(rows, data, ticks, trigger) {
  const known = new Map([...rows.rows].map((row) => [row.dataset.id, row])), giveBack = heldFocus(rows);
  data.rows.forEach((item, i) => {
    const row = known.get(item.id) ?? make(item, data.columns, ticks);
    known.delete(item.id);
    if (ticks) name(row.cells[0].firstChild, data.tick.replace("{machine}", () => data.ticks.names?.[item.id] ?? item.id));
    row.onclick = (event) => open(event, item, trigger);
    item.cells.forEach((cell, j) => fill(row.cells[j + (ticks ? 1 : 0)], cell, item, trigger));
    if (rows.rows[i] !== row) rows.insertBefore(row, rows.rows[i] ?? null);
  });
  for (const gone of known.values()) gone.remove();
  ticks?.show();
  giveBack();
}

// Return what gives the focus back to where it was: a row that moves, and a cell that is drawn again, lose it.
function heldFocus(rows) {
  const focused = document.activeElement, cell = rows.contains(focused) && focused.closest("td");
  if (!cell) return () => {};
  const controls = () => [...cell.querySelectorAll("a, button, input")], place = controls().indexOf(focused);
  return () => {
    if (cell.isConnected && document.activeElement !== focused) controls()[place]?.focus({ preventScroll: true });
  };
}

function make(item, columns, ticks) {
  const row = document.createElement("tr");
  row.dataset.id = item.id;
  if (ticks) row.append(tickCell("td"));
  for (const column of columns) row.insertCell().className = `df-col-${column.code}`;
  return row;
}

function tickCell(kind) {
  const cell = document.createElement(kind), box = document.createElement("input");
  cell.className = "df-col-tick";
  box.type = "checkbox";
  cell.append(box);
  return cell;
}

function ticking(table, { ticks, rows }, tell) {
  if (table.ticks?.revision !== ticks.revision) table.ticks = { revision: ticks.revision, changes: {} };
  const { changes } = table.ticks, selected = new Set(ticks.selected), ids = rows.map((row) => row.id);
  const is = (id) => changes[id] ?? selected.has(id);
  const box = (row) => row.cells[0].firstChild;

  function change(wanted) {
    Object.assign(changes, wanted);
    show();
    tell("ticks", { revision: ticks.revision, changes: { ...changes } });
  }

  function show() {
    const all = box(table.tHead.rows[0]), count = ids.filter(is).length;
    all.checked = count > 0 && count === ids.length;
    all.indeterminate = count > 0 && count < ids.length;
    all.onchange = () => change(Object.fromEntries(ids.map((id) => [id, all.checked])));
    for (const row of table.tBodies[0].rows) {
      const id = row.dataset.id, mine = box(row);
      mine.checked = is(id);
      row.setAttribute("aria-selected", String(mine.checked));
      mine.onchange = () => change({ [id]: mine.checked });
    }
  }
  return { show };
}

// Open a row in this tab; with a modifier key, or the middle button on the link, the browser acts as usual. A pointer that
// has marked text opens nothing; Enter does (`detail` is 0), as Tab marks the text of each field that it passes.
function open(event, item, trigger) {
  if (event.target.closest(".df-col-tick, button")) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || (event.detail && String(getSelection()))) return;
  event.preventDefault();
  trigger("opened", event.target.closest("[data-opens]")?.dataset.opens ?? item.id);
}

function fill(cell, content, item, trigger) {
  const wanted = JSON.stringify(content);
  if (cell.dataset.shown === wanted) return;
  cell.dataset.shown = wanted;
  cell.classList.toggle("df-aged", Boolean(content.aged));
  if (content.aged || cell.title) cell.title = content.aged ? content.hint : "";
  if (content.kind === "bar" && cell.firstChild) return bar(cell, content);
  cell.replaceChildren(...KINDS[content.kind](content, item, trigger));
  if (content.kind === "bar") bar(cell, content);
}

const KINDS = {
  name: ({ text, detail, hint }, item) => {
    const link = titled(node("a", "df-name", text), hint);
    link.href = "." + item.href;
    return detail ? [link, node("span", "df-sub", detail)] : [link];
  },
  chip: ({ text, tone, hint, detail }) => {
    const chip = titled(node("span", `df-chip df-${tone}`, text), hint);
    return detail ? [chip, node("span", "df-beside", detail)] : [chip];
  },
  chips: ({ chips }) => chips.map(({ text, tone }) => node("span", `df-chip df-${tone}`, text)),
  tags: ({ tags, more, hint, picks }, item, trigger) => {
    const group = titled(node("span", "df-tags", ""), hint || tags.join(", "));
    group.append(...tags.map((text, i) => (picks ? pick(text, picks[i], trigger) : node("span", "df-tag", text))));
    if (more) group.append(node("span", "df-tag df-more", more));
    return [group];
  },
  pick: ({ text, pick: value }, item, trigger) => [pick(text, value, trigger)],
  line: ({ text, points }) => [line(points, text)],
  link: ({ text, href, opens }) => {
    if (!text) return [];
    const link = node("a", "df-link", text);
    link.href = href;
    link.dataset.opens = opens;
    return [link];
  },
  text: ({ text, hint, detail }) => {
    const shown = titled(node("span", "", text), hint);
    return detail ? [shown, node("span", "df-sub", detail)] : [shown];
  },
  bar: () => {
    const track = node("span", "df-track", "");
    track.append(document.createElement("span"));
    return [node("span", "df-percent", ""), track];
  },
};

// A value that filters the table.
function pick(text, value, trigger) {
  const button = node("button", "df-tag df-pick", text);
  button.type = "button";
  button.onclick = () => trigger("picked", value);
  return button;
}

function bar(cell, { text, tone, percent }) {
  set(cell.firstChild, text);
  cell.lastChild.className = `df-track df-${tone}`;
  cell.lastChild.firstChild.style.width = `${percent ?? 0}%`;
}

// A percentage over time: a letter for each point, from "0" for 0 % to "b" for 100 %, a space for missing data, which
// leaves a gap.
function line(letters, text) {
  const svg = shape("svg", { viewBox: `0 0 ${letters.length - 1} 50`, preserveAspectRatio: "none", role: "img", class: "df-line" });
  svg.setAttribute("aria-label", text);
  const title = shape("title", {});
  title.textContent = text;
  const known = (x) => (letters[x] ?? " ") !== " ";
  const point = (x) => `${known(x - 1) ? "L" : "M"}${x} ${"b".charCodeAt() - letters.charCodeAt(x)}`;
  const drawn = [...letters].map((_, x) => (known(x) ? point(x) + (known(x - 1) || known(x + 1) ? "" : "h.01") : ""));
  svg.append(title, shape("path", { d: drawn.join("") }));
  return svg;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Request a fresh order if the table was not touched for a while and its order is old, for wall screens; and sooner when a
// machine went offline, which belongs at the top.
function watch(table, data, trigger) {
  if (!table.dataset.touched) {
    table.dataset.touched = "0";
    for (const name of ["pointermove", "focusin", "keydown", "wheel", "touchstart"])
      table.addEventListener(name, () => { table.dataset.touched = String(Date.now()); }, { passive: true });
  }
  const patience = data.outdated ? OUTDATED_IDLE : ORDER_IDLE;
  const idle = Date.now() - Number(table.dataset.touched) > patience && !table.contains(document.activeElement);
  if (idle && (data.outdated || data.order_age > ORDER_IDLE)) trigger("aged", data.order_age);
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

function name(made, text) {
  if (made.ariaLabel !== text) made.ariaLabel = text;
}
