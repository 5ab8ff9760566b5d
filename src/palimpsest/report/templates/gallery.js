// Makes each picture of the gallery a button that opens it beside its input and target.
"use strict";
const viewer = document.getElementById("viewer");
const cells = [...document.querySelectorAll(".gallery td:has(img)")];
const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let shown;

const columnOf = (cell) => [...cell.parentElement.querySelectorAll("td")].indexOf(cell);
const isVisible = (cell) => cell.getClientRects().length > 0;

function show(cell) {
  shown = cell;
  const row = [...cell.parentElement.querySelectorAll("td:has(img)")];
  const beside = row.filter((other) => ["", cell.dataset.group].includes(other.dataset.group));
  document.getElementById("viewer-title").textContent = cell.querySelector("img").alt;
  document.getElementById("viewer-pictures").replaceChildren(...beside.map(figureOf));
  if (!viewer.open) viewer.showModal();
}

function figureOf(cell) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = cell.dataset.title;
  figure.append(cell.querySelector("img").cloneNode(), caption);
  return figure;
}

function step([right, down]) {
  const visible = cells.filter(isVisible), column = columnOf(shown);
  const line = down ? visible.filter((cell) => columnOf(cell) === column)
    : visible.filter((cell) => cell.parentElement === shown.parentElement);
  const next = line[line.indexOf(shown) + right + down];
  if (next) show(next);
}

for (const cell of cells) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(cell.firstElementChild);
  button.addEventListener("click", () => show(cell));
  cell.append(button);
}
for (const text of document.querySelectorAll(".scripted")) text.hidden = false;
if (viewer) {
  viewer.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    step(steps[event.key]);
  });
  viewer.addEventListener("click", (event) => {
    const { step: key } = event.target.dataset;
    if (key === "Escape") viewer.close();
    else if (key) step(steps[key]);
  });
  viewer.addEventListener("close", () => shown.querySelector("button").focus());
}
