"use strict";
const all = (selector, home = document) => [...home.querySelectorAll(selector)];
const one = (selector, home = document) => home.querySelector(selector);

// Colours: as the system, light, dark.
const themes = ["system", "light", "dark"];
const themeButton = one("#theme");
function showTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  one("span", themeButton).textContent = name;
  themeButton.setAttribute("aria-label", `Colours: ${name === "system" ? "as the system" : name}`);
}
function remembered() {
  try { return localStorage.getItem("dgaug-theme"); } catch { return null; } // files may have no storage
}
let theme = themes.includes(remembered()) ? remembered() : "system";
showTheme(theme);
themeButton.addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  showTheme(theme);
  try { localStorage.setItem("dgaug-theme", theme); } catch { /* then it lasts until the page is closed */ }
});

// The grid: one stop of the Tab key, arrow keys inside, a panel for the cell pointed at, a dialog to enlarge.
const cells = all(".cell");
const panel = one("#panel");
const dialog = one("#large");
const side = Math.sqrt(cells.length);
let current = 0;
let enlarged = 0; // where the focus returns to, whatever the pointer comes to lie on when the dialog closes
function about(cell) {
  const content = one("template", cell.parentElement).content.cloneNode(true);
  const images = {
    row: all(".grid tbody th img")[cell.dataset.row],
    column: all(".grid thead th img")[cell.dataset.column],
    cell: one("img", cell),
  };
  for (const image of all("img[data-of]", content)) image.src = images[image.dataset.of].src;
  return content;
}
function select(number) {
  cells[current].tabIndex = -1;
  cells[current].classList.remove("current");
  current = number;
  cells[current].tabIndex = 0;
  cells[current].classList.add("current");
  for (const head of all(".grid th")) head.classList.remove("of-current");
  all(".grid thead th")[current % side].classList.add("of-current");
  all(".grid tbody th")[Math.floor(current / side)].classList.add("of-current");
  panel.replaceChildren(about(cells[current]));
  if (dialog.open) {
    one(".content", dialog).replaceChildren(about(cells[current]));
    enlarged = current;
  }
}
function moved(key) {
  const row = Math.floor(current / side), column = current % side;
  const to = {
    ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column], Home: [row, 0], End: [row, side - 1],
  }[key];
  return to && to.every((place) => place >= 0 && place < side) ? to[0] * side + to[1] : null;
}
function enlarge(content) {
  one(".content", dialog).replaceChildren(content);
  dialog.showModal();
}
cells.forEach((cell, number) => {
  cell.addEventListener("pointerenter", () => select(number));
  cell.addEventListener("focus", () => select(number));
  cell.addEventListener("click", () => {
    select(number);
    enlarged = number;
    dialog.classList.add("pair");
    enlarge(about(cell));
  });
});
function arrow(event) {
  const next = moved(event.key);
  if (next === null) return;
  event.preventDefault();
  if (dialog.open) select(next);
  else cells[next].focus();
}
if (cells.length) {
  select(0);
  one(".grid").addEventListener("keydown", arrow);
  dialog.addEventListener("keydown", (event) => { if (dialog.classList.contains("pair")) arrow(event); });
  dialog.addEventListener("close", () => { if (dialog.classList.contains("pair")) cells[enlarged].focus(); });
}
one(".close", dialog).addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

// Sheets enlarge in the same dialog.
for (const sheet of all(".zoom")) {
  sheet.addEventListener("click", (event) => {
    event.preventDefault();
    dialog.classList.remove("pair");
    enlarge(one("img", sheet).cloneNode());
  });
}

// A slider shows one frame of each of its rows.
for (const slider of all(".slider")) {
  const input = one("input", slider), output = one("output", slider);
  input.addEventListener("input", () => {
    for (const row of all(".frames", slider)) {
      all("img", row).forEach((frame, number) => { frame.hidden = number !== input.valueAsNumber; });
    }
    const shown = one(".frames img:not([hidden])", slider);
    input.setAttribute("aria-valuetext", shown.alt);
    if (output) output.textContent = shown.dataset.name;
  });
}

// Pointing at a chart reads the nearest point of each of its lines.
for (const chart of all(".chart")) {
  const svg = one("svg", chart), output = one("output", chart), cross = one(".cross", chart);
  const lines = all(".line", svg).map((line) => ({ name: line.dataset.name, points: JSON.parse(line.dataset.points) }));
  const places = lines.flatMap((line) => line.points.map((point) => point[0]));
  const first = Math.min(...places), length = Math.max(...places) - first || 1;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = first + (length * (event.clientX - box.left)) / box.width;
    const near = lines.map((line) =>
      line.points.reduce((best, point) => (Math.abs(point[0] - wanted) < Math.abs(best[0] - wanted) ? point : best)));
    const at = near[0][0], x = ((at - first) / length) * svg.viewBox.baseVal.width;
    cross.setAttribute("d", `M${x},0V${svg.viewBox.baseVal.height}`);
    const values = near.map((point, k) => (lines.length > 1 ? `${lines[k].name} ${point[1]}` : point[1]));
    output.textContent = `${at.toLocaleString("en")}: ${values.join(" · ")}`;
  });
  svg.addEventListener("pointerleave", () => { output.textContent = ""; cross.setAttribute("d", ""); });
}
