"use strict";
// Sorts and filters the images, and moves tables and curve to a radius. All figures are in the page already.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const at = id => document.getElementById(id);
const controls = document.querySelector(".controls");
const body = document.querySelector("#images tbody");
let radius = 0;

// At 0 every certificate counts: one of "just more than 0" has a radius that is rounded down to it.
const beyondIt = claimed => radius === 0 || Number(claimed) > radius;

function moveTable() {
  for (const row of all("tr[data-shares]")) row.querySelector(".at").textContent = row.dataset.shares.split(" ")[at("radius").value];
  for (const heading of all("th.at")) heading.textContent = "at r = " + radius.toFixed(4);
}

function moveCurve() {
  const plot = document.querySelector(".plot[data-left]");
  if (!plot) return;
  const { left, right } = plot.dataset;
  const share = at("radius").value / at("radius").max;
  plot.querySelector(".cursor").style.left = 100 * (Number(left) + share * (right - left)) + "%";
}

function filter() {
  const state = at("state").value, sought = at("sought").value.trim().toLowerCase();
  let found = 0;
  for (const row of body.rows) {
    let fits = state === "";
    for (const cell of all("[data-state]", row)) {
      const beyond = cell.dataset.state !== "none" && beyondIt(cell.dataset.radius);
      cell.classList.toggle("below", cell.dataset.state !== "none" && !beyond);
      fits = fits || (beyond ? cell.dataset.state : "none") === state;
    }
    row.hidden = !(fits && row.textContent.toLowerCase().includes(sought));
    found += !row.hidden;
  }
  at("found").textContent = found < body.rows.length ? found + " shown." : "";
}

function moved() {
  const text = at("radius").dataset.radii.split(" ")[at("radius").value];
  radius = Number(text);
  at("radius-shown").textContent = text;
  at("radius").setAttribute("aria-valuetext", text);
  moveTable();
  moveCurve();
  filter();
}

// Numbers before text, and nothing last, whichever the direction.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const difference = a - b;
  return sign * (Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference);
}

function sortBy(heading, column) {
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const each of all("#images th[aria-sort]")) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const text = row => row.cells[column] ? row.cells[column].textContent.trim() : "";
  body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), sign)));
}

if (controls && body) {
  controls.hidden = false;
  for (const each of all(".at, .cursor")) each.hidden = false;
  all("#images thead tr:last-child > *").forEach((heading, column) => {
    if (heading.textContent === "") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(heading, column));
  });
  controls.addEventListener("input", moved);
  controls.addEventListener("submit", event => event.preventDefault());
  moved();
}
