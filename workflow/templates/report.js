"use strict";

// -- contents: open where the page is wide ----------------------------------------------------------------------------

const contents = document.querySelector("nav details"); // null: a page without sections
const wide = matchMedia("(min-width: 70rem)");
const showContents = () => { contents.open = wide.matches; };
if (contents) {
  wide.addEventListener("change", showContents);
  showContents();
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) contents.open = false;
  });
}

// On paper nothing can be opened.
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("main details")) each.open = true;
});

// -- figures that enlarge ----------------------------------------------------------------------------------------------

const dialog = document.querySelector("dialog");
const enlarged = dialog.querySelector("img");
for (const image of document.querySelectorAll(".figure img")) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = "Enlarge";
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    enlarged.src = image.src;
    enlarged.alt = image.alt;
    dialog.showModal();
  });
}
enlarged.addEventListener("click", () => dialog.close());

// -- tables that can be sorted -----------------------------------------------------------------------------------------

const UNITS = { h: 3600, min: 60, s: 1 };

// The number that a cell starts with: "1,234", "98.61 (96.79 to 99.41)", "−0.5", "< 0.001"; seconds for "1 min 05 s".
function parseNumber(text) {
  const times = [...text.matchAll(/([\d.]+)\s(h|min|s)\b/g)];
  if (times.length) return times.reduce((sum, [, value, unit]) => sum + value * UNITS[unit], 0);
  return parseFloat(text.replace(/^< /, "").replace("−", "-").replaceAll(",", ""));
}

// A difference stays below the published row that it is the difference from.
const continues = (row) => /^difference(,|$)/.test(row.cells[0].textContent);

function blocksOf(rows) {
  const blocks = [];
  for (const row of rows) {
    if (continues(row) && blocks.length) blocks.at(-1).push(row);
    else blocks.push([row]);
  }
  return blocks;
}

// What compares two blocks by a column; where it has numbers, blocks without one come last in both directions.
function comparison(blocks, column, mayBeNumbers, direction) {
  const text = (block) => block[0].cells[column].innerText.trim();
  if (!mayBeNumbers || blocks.every((block) => isNaN(parseNumber(text(block))))) {
    return (a, b) => direction * text(a).localeCompare(text(b), "en", { numeric: true });
  }
  return (a, b) => {
    const [first, second] = [parseNumber(text(a)), parseNumber(text(b))];
    return isNaN(first) - isNaN(second) || direction * (first - second) || 0;
  };
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const inOrder = [...body.rows];
  const blocks = blocksOf(inOrder);
  if (!table.tHead || blocks.length < 2) return;
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[header.ariaSort];
      const order = next === undefined ? "ascending" : next; // the third time: as it was
      for (const each of headers) each.removeAttribute("aria-sort");
      if (order) header.setAttribute("aria-sort", order);
      const isRight = header.style.textAlign === "right";
      const compare = comparison(blocks, column, isRight, order === "descending" ? -1 : 1);
      body.append(...(order ? [...blocks].sort(compare).flat() : inOrder));
    });
  });
}

document.querySelectorAll("main table").forEach(makeSortable);
