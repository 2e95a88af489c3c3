// A tile for each machine on one canvas. Each look is drawn once and then copied, and a refresh draws only the tiles that
// changed, so that 10,000 of them take a few milliseconds. Text is always drawn or set as text, never as HTML.
//
// The field has the keyboard focus. Its machine is kept by id, so that it stays the same when tiles come and go.
//
// Tiles are as large as the room allows. The readings of a machine are fetched once its tile was pointed at for a moment.
const SIZE_MIN = 12, SIZE_MAX = 56, ROOM_MIN = 260, HEADING = 28, PAUSE = 150;

export default function ({ data, parentElement, setTriggerValue }) {
  const map = parentElement.querySelector(".df-map"), field = map.querySelector(".df-map-field");
  const view = (map.view ??= begin(map, field));
  view.data = data;
  view.open = (id) => { if (id) setTriggerValue("opened", id); };
  field.setAttribute("aria-label", data.name);
  set(map.querySelector(".df-map-hint"), data.hint);
  legend(map.querySelector(".df-map-legend"), data.legend);
  if (data.remember) document.cookie = `${data.cookie}=${data.remember}; path=/; max-age=31536000; samesite=lax`;
  view.told.clear();
  draw(view);
  mark(view);
}

function begin(map, field) {
  const canvas = field.querySelector("canvas"), view = { map, field, canvas, at: "", index: 0, hovered: -1, told: new Map() };
  view.marks = ["df-map-here", "df-map-ring"].map((kind) => field.appendChild(node("span", kind)));
  view.tip = field.appendChild(node("div", "df-map-tip"));
  for (const made of [...view.marks, view.tip]) made.setAttribute("aria-hidden", "true");
  field.onkeydown = (event) => key(event, view);
  field.onfocus = field.onblur = () => mark(view);
  canvas.onpointermove = (event) => hover(view, tileAt(event, view));
  canvas.onpointerleave = () => hover(view, -1);
  canvas.onclick = (event) => view.open(names(view)?.names[tileAt(event, view)]);
  map.named = () => { if (view.laid) mark(view); };
  new ResizeObserver(() => { if (view.data) { draw(view); mark(view); } }).observe(field);
  return view;
}

// The layout: for each group its first tile, and where its tiles begin; the height of all.
function lay(field, data) {
  let size = SIZE_MAX;
  const room = roomOf(field);
  while (size > SIZE_MIN && layAt(field, data, size).height > room) size -= 1;
  return layAt(field, data, size);
}

// The height from the top of the field to the end of the window, when the page is not scrolled.
function roomOf(field) {
  const scrolled = document.querySelector(".stMain")?.scrollTop ?? 0;
  return Math.max(ROOM_MIN, innerHeight - field.getBoundingClientRect().top - scrolled - 130);
}

function layAt(field, { groups }, size) {
  const across = Math.max(1, Math.floor(field.clientWidth / size));
  let y = 0, first = 0;
  const placed = groups.map(({ title, count }) => {
    const group = { title, count, first, top: y + (title ? HEADING : 0) };
    first += count;
    y = group.top + Math.ceil(count / across) * size;
    return group;
  });
  return { size, across, placed, height: Math.max(y, size), scale: devicePixelRatio || 1, width: field.clientWidth };
}

function draw(view) {
  const started = performance.now(), { canvas, data } = view, laid = (view.laid = lay(view.field, data));
  const ink = inks(view.map, data.legend), whole = JSON.stringify([laid, ink, data.legend.map(({ look }) => look)]);
  const before = view.whole === whole ? view.drawn : "", pen = canvas.getContext("2d", { alpha: true });
  if (!before) {
    Object.assign(canvas, { width: laid.width * laid.scale, height: laid.height * laid.scale });
    canvas.style.height = `${laid.height}px`;
    view.stamps = stamps(data.legend, ink, laid.size * laid.scale);
    headings(pen, view, ink);
  }
  for (const group of laid.placed)
    for (let i = group.first; i < group.first + group.count; i++)
      if (data.looks[i] !== before[i]) {
        const [x, y] = spot(laid, group, i);
        pen.clearRect(x * laid.scale, y * laid.scale, laid.size * laid.scale, laid.size * laid.scale);
        pen.drawImage(view.stamps[data.looks[i]], x * laid.scale, y * laid.scale);
      }
  Object.assign(view, { whole, drawn: data.looks });
  performance.measure("dashfleet.map", { start: started });
}

function headings(pen, { map, laid }, ink) {
  pen.font = `600 ${13 * laid.scale}px ${getComputedStyle(map).fontFamily}`;
  pen.fillStyle = ink.text;
  for (const { title, top } of laid.placed) pen.fillText(title, 0, (top - 9) * laid.scale);
}

function spot({ size, across }, group, tile) {
  const i = tile - group.first;
  return [(i % across) * size, group.top + Math.floor(i / across) * size];
}

// The colours of the page's current scheme.
function inks(map, looks) {
  const probe = map.appendChild(node("span", ""));
  const read = (colour, tone = "") => {
    probe.className = tone;
    probe.style.color = colour;
    return getComputedStyle(probe).color;
  };
  const found = { text: read("var(--df-text)"), card: read("var(--df-card)") };
  const edge = "color-mix(in srgb, var(--tone) 55%, var(--tone-page))";
  found.tones = looks.map(({ tone }) => ["var(--tone)", "var(--tone-page)", edge].map((each) => read(each, `df-${tone}`)));
  probe.remove();
  return found;
}

// A machine without a symbol is well, and pale, so that all others stand out.
function stamps(looks, ink, size) {
  const made = looks.map(({ look, sign }, i) => {
    const [strong, pale, edge] = ink.tones[i], stamp = document.createElement("canvas");
    stamp.width = stamp.height = size;
    const pen = stamp.getContext("2d"), side = size - Math.max(1, Math.round(size / 10));
    pen.fillStyle = sign ? strong : pale;
    pen.fillRect(0, 0, side, side);
    pen.strokeStyle = sign ? strong : edge;
    pen.strokeRect(0.5, 0.5, side - 1, side - 1);
    pen.fillStyle = ink.card;
    pen.font = `700 ${Math.min(size * 0.75, 22 * (devicePixelRatio || 1))}px sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(sign, side / 2, side / 2 + size * 0.04);
    return [look, stamp];
  });
  return Object.fromEntries(made);
}

function key(event, view) {
  const at = current(view), { across } = view.laid;
  const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: view.data.looks.length - 1 };
  if (event.key === "Enter") view.open(names(view)?.names[at]);
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") move(view, beside(view, at, event.key === "ArrowDown" ? across : -across));
  else if (event.key in steps) move(view, steps[event.key]);
  else return;
  event.preventDefault();
}

// The tile one line below or above, which may be in the next group and is never past the end of its line.
function beside(view, at, step) {
  const { across, placed } = view.laid, group = groupOf(view, at);
  if (groupOf(view, at + step) === group) return at + step;
  const line = Math.floor((at - group.first) / across), column = (at - group.first) % across;
  if (step > 0 && line < Math.floor((group.count - 1) / across)) return group.first + group.count - 1;
  const next = placed[placed.indexOf(group) + Math.sign(step)];
  if (!next) return at;
  const start = step > 0 ? 0 : Math.floor((next.count - 1) / across) * across;
  return next.first + Math.min(start + column, next.count - 1);
}

function move(view, wanted) {
  view.index = Math.min(Math.max(wanted, 0), view.data.looks.length - 1);
  view.at = names(view)?.names[view.index] ?? "";
  view.hovered = -1;
  mark(view);
  view.marks[0].scrollIntoView({ block: "nearest" });
}

function current(view) {
  const known = names(view)?.names;
  if (known && view.at && known[view.index] !== view.at) view.index = known.indexOf(view.at);
  if (!(view.index >= 0 && view.index < view.data.looks.length)) view.index = 0;
  return view.index;
}

function hover(view, tile) {
  if (view.hovered === tile) return;
  view.hovered = tile;
  view.canvas.style.cursor = tile < 0 ? "" : "pointer";
  mark(view);
}

// The readings of a machine; asked for only if its tile is still shown after a pause, and again after each refresh.
function readings(view, id) {
  const known = view.told.get(id);
  if (known !== undefined || view.asking === id) return known ?? view.before?.[id] ?? "";
  clearTimeout(view.pause);
  view.asking = id;
  view.pause = setTimeout(async () => {
    try {
      const answer = await fetch(`${view.data.details}?id=${encodeURIComponent(id)}`, { redirect: "error" });
      view.told.set(id, answer.ok ? await answer.text() : "");
    } catch {
      view.told.set(id, "");
    }
    view.before = { [id]: view.told.get(id) };
    if (view.asking === id) view.asking = "";
    mark(view);
  }, PAUSE);
  return view.before?.[id] ?? "";
}

// Mark the focused tile and the one under the pointer, and show the name of the latter, else of the former.
function mark(view) {
  const focused = view.field === document.activeElement ? current(view) : -1;
  ring(view, view.marks[0], focused);
  ring(view, view.marks[1], view.hovered);
  const shown = view.hovered >= 0 ? view.hovered : focused, words = describe(view, shown), tip = view.tip;
  tip.hidden = !words;
  set(tip, words);
  set(view.map.querySelector(".df-map-said"), describe(view, focused));
  if (!words) return;
  const [x, y] = spot(view.laid, groupOf(view, shown), shown);
  tip.style.left = `${Math.max(0, Math.min(x, view.laid.width - tip.offsetWidth))}px`;
  tip.style.top = y > tip.offsetHeight + 8 ? `${y - tip.offsetHeight - 6}px` : `${y + view.laid.size + 6}px`;
}

function ring(view, made, tile) {
  const group = groupOf(view, tile), { size } = view.laid;
  made.hidden = !group;
  if (!group) return;
  const [x, y] = spot(view.laid, group, tile);
  Object.assign(made.style, { left: `${x}px`, top: `${y}px`, width: `${size}px`, height: `${size}px` });
}

// The description of a tile; empty until its name has arrived.
function describe(view, tile) {
  const known = names(view), id = known?.names[tile];
  if (!id) return "";
  const title = known.titles[tile], whole = title === id ? id : `${title} (${id})`;
  const { label } = view.data.legend.find(({ look }) => look === view.data.looks[tile]);
  return [`${whole}: ${label}`, groupOf(view, tile).title, readings(view, id)].filter(Boolean).join("\n");
}

function tileAt(event, view) {
  const box = view.canvas.getBoundingClientRect(), { size, across, placed } = view.laid;
  const column = Math.floor((event.clientX - box.left) / size), y = event.clientY - box.top;
  const group = placed.findLast(({ top }) => y >= top);
  const i = group ? Math.floor((y - group.top) / size) * across + column : -1;
  return group && column < across && i < group.count ? group.first + i : -1;
}

function groupOf(view, tile) {
  return view.laid.placed.find(({ first, count }) => tile >= first && tile < first + count);
}

// The names of these tiles, if they have arrived.
function names({ data }) {
  const known = document.querySelector(".df-map-names")?.tiles;
  return known?.version === data.version ? known : undefined;
}

function legend(list, looks) {
  while (list.children.length > looks.length) list.lastChild.remove();
  looks.forEach(({ sign, tone, label, count }, i) => {
    const item = list.children[i] ?? list.appendChild(document.createElement("li"));
    if (!item.children.length) item.append(node("span", ""), node("span", ""));
    item.children[0].className = `df-tile df-${tone}${sign ? "" : " df-well"}`;
    item.children[0].setAttribute("aria-hidden", "true");
    set(item.children[0], sign);
    set(item.children[1], `${label}: ${count}`);
  });
}

function node(name, kind) {
  const made = document.createElement(name);
  made.className = kind;
  return made;
}

function set(made, text) {
  if (made.textContent !== text) made.textContent = text;
}
