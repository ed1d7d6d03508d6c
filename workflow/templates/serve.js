"use strict";

const MOST_CLASSES = 5;
const maxBytes = Number(document.querySelector("main").dataset.maxBytes);
const drop = document.querySelector(".drop");
const input = document.querySelector("#picture");
const invert = document.querySelector("#invert");
const shown = document.querySelector("#shown");
const state = document.querySelector("#state");
const table = document.querySelector("table");
const figure = document.querySelector("figure"); // null: this network has no maps to show
let newest = 0;
let current = null; // the picture that is shown

function say(text, isProblem = false) {
  state.textContent = text;
  state.classList.toggle("problem", isProblem);
}

function addRow(name, probability) {
  const row = table.tBodies[0].insertRow();
  const header = document.createElement("th");
  header.scope = "row";
  header.textContent = name;
  row.append(header);
  const percent = `${(100 * probability).toFixed(1)} %`;
  row.insertCell().textContent = percent;
  const meter = document.createElement("meter");
  meter.value = probability;
  meter.setAttribute("aria-label", `${name}: ${percent}`);
  row.insertCell().append(meter);
}

async function ask(path, picture) {
  if (picture.size > maxBytes) throw new Error(`the picture has more than ${maxBytes / 2 ** 20} MB; make it smaller.`);
  const type = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
  const response = await fetch(`${path}?invert=${invert.checked}`, { method: "POST", headers: { "Content-Type": type }, body: picture });
  if (!response.ok) throw new Error((await response.json()).detail);
  return response;
}

async function predict(picture) {
  const number = ++newest;
  current = picture;
  URL.revokeObjectURL(shown.src);
  shown.src = URL.createObjectURL(picture);
  shown.hidden = false;
  table.hidden = true;
  if (figure) figure.hidden = true;
  say("Predicting …");
  let answer;
  try {
    answer = await (await ask("predict", picture)).json();
  } catch (error) {
    // fetch reports a server that is gone as a TypeError, in the browser's words.
    if (number === newest) say(error instanceof TypeError ? "No answer: is the server still running?" : error.message, true);
    return;
  }
  if (number !== newest) return; // another picture was dropped meanwhile
  say(`${answer.class} (${(100 * answer.probability).toFixed(1)} %)${answer.warning && `; ${answer.warning}`}`);
  table.tBodies[0].replaceChildren();
  for (const each of answer.top.slice(0, MOST_CLASSES)) addRow(each.class, each.probability);
  table.hidden = false;
  if (figure) showMap(picture, number).catch(() => {}); // without an answer, the classes stay
}

async function showMap(picture, number) {
  const drawn = await (await ask("explain", picture)).blob();
  if (number !== newest) return;
  const image = figure.querySelector("img");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(drawn);
  figure.hidden = false;
}

document.querySelector("#address").textContent = location.origin;
// A format that browsers do not show, such as TIFF, can still be predicted.
shown.addEventListener("error", () => { shown.hidden = true; });
input.addEventListener("change", () => {
  if (input.files.length) predict(input.files[0]);
});
invert.addEventListener("change", () => {
  if (current) predict(current);
});
// Over the whole page: a picture that misses the frame would be opened instead of the page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) predict(event.dataTransfer.files[0]);
});
