// What the charts of a page share: the time below the pointer, and a time range chosen by dragging across one of them.
//
// The charts belong to Streamlit, which offers neither. All have the same margins, so a time can be told from a position.
// Other charts show the time below the pointer because they are told of a pointer there.
const DRAG_MIN = 8;
// Milliseconds: a refresh draws the charts anew, without what they showed of the pointer.
const REDRAWN = 100;
// The last request to come into view; the charts may not have been on the page before it.
let focused = 0;

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".df-chart-range");
  const area = root.closest('[class*="st-key-charts_"]');
  if (!area) return;
  root.shared = { ...data, tell: (name, value) => setTriggerValue(name, value) };
  if (!root.listening) listen(root, area);
  if (data.focus > focused) {
    focused = data.focus;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    setTimeout(() => area.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" }), REDRAWN);
  }
  clearTimeout(root.redrawn);
  root.redrawn = setTimeout(() => root.pointer && point(area, null, root.pointer), REDRAWN);
}

function listen(root, area) {
  const listening = root.listening = new AbortController();
  const options = { signal: listening.signal };
  const chartAt = (event) => event.target instanceof Element && event.target.closest('[data-testid="stEChartsChart"]');
  let drag = null;

  area.addEventListener("mousemove", (event) => {
    const chart = event.isTrusted && chartAt(event);
    if (!chart || drag) return;
    root.pointer = { chart, clientX: event.clientX, clientY: event.clientY };
    point(area, chart, root.pointer);
  }, options);
  area.addEventListener("mouseout", (event) => {
    const chart = event.isTrusted && chartAt(event);
    if (!chart || chart.contains(event.relatedTarget)) return;
    root.pointer = null;
    leave(area, chart);
  }, options);
  area.addEventListener("pointerdown", (event) => {
    const chart = chartAt(event);
    if (!chart || event.button !== 0 || event.pointerType === "touch") return;
    const box = plot(chart, root.shared);
    if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) return;
    drag = { box, from: event.clientX, to: event.clientX, shared: root.shared, shade: shade(root) };
  }, options);
  addEventListener("pointermove", (event) => {
    if (!root.isConnected) return listening.abort();
    if (!drag) return;
    drag.to = Math.min(Math.max(event.clientX, drag.box.left), drag.box.right);
    cover(drag);
    event.preventDefault();
  }, options);
  addEventListener("pointerup", () => {
    if (!drag) return;
    const { box, from, to, shared } = drag;
    stop();
    if (Math.abs(to - from) < DRAG_MIN) return;
    const time = (x) => Math.round(shared.start + ((x - box.left) / (box.right - box.left)) * (shared.end - shared.start));
    root.shared.tell("zoomed", [time(Math.min(from, to)), time(Math.max(from, to))]);
  }, options);
  addEventListener("pointercancel", stop, options);
  addEventListener("keydown", (event) => event.key === "Escape" && stop(), options);

  function stop() {
    drag?.shade.remove();
    drag = null;
  }
}

function plot(chart, { left, right }) {
  const box = chart.getBoundingClientRect();
  return { left: box.left + left, right: box.right - right, top: box.top, bottom: box.bottom };
}

function shade(root) {
  const made = document.createElement("div");
  made.className = "df-chart-shade";
  made.hidden = true;
  root.append(made);
  return made;
}

function cover({ box, from, to, shade }) {
  shade.hidden = Math.abs(to - from) < DRAG_MIN;
  Object.assign(shade.style, {
    left: `${Math.min(from, to)}px`, width: `${Math.abs(to - from)}px`, top: `${box.top}px`, height: `${box.bottom - box.top}px`,
  });
}

// The surface on which ECharts listens to the mouse.
function surface(chart) {
  return chart.querySelector("canvas")?.parentElement;
}

function others(area, chart) {
  return [...area.querySelectorAll('[data-testid="stEChartsChart"]')].filter((each) => each !== chart && surface(each));
}

// Have all charts but `told`, which the browser tells, show the time below the pointer.
function point(area, told, { chart, clientX, clientY }) {
  const { shared } = area.querySelector(".df-chart-range"), here = plot(chart, shared);
  const share = (clientX - here.left) / (here.right - here.left);
  for (const other of others(area, told)) {
    const there = plot(other, shared);
    if (there.bottom < 0 || there.top > innerHeight) continue;
    const x = there.left + share * (there.right - there.left);
    const y = other === chart ? clientY : there.top + Math.min(clientY - here.top, (there.bottom - there.top) / 2);
    say(other, "mousemove", x, y);
  }
}

function leave(area, chart) {
  for (const other of others(area, chart)) say(other, "mouseout", -1, -1);
}

function say(chart, type, clientX, clientY) {
  surface(chart).dispatchEvent(new MouseEvent(type, { clientX, clientY, bubbles: false }));
}
