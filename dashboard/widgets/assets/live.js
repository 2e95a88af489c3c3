// The readings of this moment, fetched every second while the page is visible. They stand in place of the stored ones,
// which style.css hides meanwhile. The answer is HTML that the server has escaped.
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".df-live-now");
  root.address = data.address;
  if (root.begun) return;
  root.begun = true;
  setTimeout(() => turn(root), 0);
}

async function turn(root) {
  if (!root.isConnected) return;
  const began = performance.now();
  const seconds = document.hidden ? 1 : await show(root);
  setTimeout(() => turn(root), Math.max(200, 1000 * seconds - (performance.now() - began)));
}

// Show the answer; return the seconds until the next one.
async function show(root) {
  const [note, gauges] = [root.querySelector(".df-live-note"), root.querySelector(".df-live-gauges")];
  let state = { html: "", note: "", seconds: 5 };
  try {
    const answer = await fetch(root.address, { redirect: "error" });
    if (answer.ok) state = await answer.json();
  } catch {
    // The watcher says that the dashboard cannot be reached.
  }
  root.classList.toggle("df-on", state.html !== "");
  if (note.textContent !== state.note) note.textContent = state.note;
  if (gauges.shown !== state.html) gauges.innerHTML = gauges.shown = state.html;
  return state.seconds;
}
