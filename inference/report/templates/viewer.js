// The list of films, and one film large. Plain ES2019, without a library or a build.
//
// films/films.js has set window.FILMS, a list of {id, file, area, ...}, see
// film_index.py, and window.FILMS_OF, what holds for all. Pictures are only ever shown,
// never read: a browser forbids a page from a disk to read the pixels beside it.
(() => {
"use strict";

const films = window.FILMS;
const facts = window.FILMS_OF || {};
const $ = (id) => document.getElementById(id);
if (!Array.isArray(films)) {
  $("films-missing").hidden = false;
  return;
}

const FOLDERS = {pictures: "png", masks: "png", heat: "png", thumbs: "jpg"};
const url = (kind, film) =>
  `films/${kind}/${encodeURIComponent(film.file)}.${FOLDERS[kind]}`;
const number = (value) => value.toLocaleString("en", {maximumFractionDigits: 1});
const isKnown = (value) => value !== undefined && value !== null;

function element(tag, text, name) {
  const made = document.createElement(tag);
  // As text, never as HTML: an id may be anything.
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

// ---------------------------------------------------------------- the list

const AT_A_TIME = 60;  // Cards that are added when the end of the list comes into view.
let shown = films;     // The films that pass the filter, in the order of the list.
let listed = 0;        // How many of them have a card.

const thumbs = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    thumbs.unobserve(entry.target);
    entry.target.src = entry.target.dataset.src;
  }
}, {rootMargin: "200px"});

const end = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) listMore();
}, {rootMargin: "400px"});

function card(film, index) {
  const button = element("button", "");
  button.type = "button";
  button.dataset.index = index;
  const picture = element("img", "");
  picture.alt = "";
  picture.width = picture.height = 160;
  picture.loading = "lazy";
  picture.dataset.src = url("thumbs", film);
  thumbs.observe(picture);
  const id = element("span", "", "id");
  id.append(element("bdi", film.id));
  const likely = isKnown(film.probability) ? `${film.probability.toFixed(2)}, ` : "";
  const area = film.area ? `${number(film.area)} px` : "no mask";
  button.append(picture, id, element("span", likely + area));
  if (film.warnings) button.append(element("span", film.warnings, "warned"));
  button.title = film.id;
  return button;
}

function listMore() {
  const cards = shown.slice(listed, listed + AT_A_TIME)
    .map((film, k) => card(film, listed + k));
  $("films-list").append(...cards);
  listed += cards.length;
  // Observed anew, it reports again if it is still in view.
  end.unobserve($("films-more"));
  if (listed < shown.length) end.observe($("films-more"));
}

const PASSES = {
  all: () => true,
  mask: (film) => film.area > 0,
  empty: (film) => film.area === 0,
  warned: (film) => Boolean(film.warnings),
};

// Compares two films by a key such as "-area"; films without the value come last.
function comparison(key) {
  const sign = key[0] === "-" ? -1 : 1;
  const name = key.slice(1);
  return (one, other) => {
    const a = one[name], b = other[name];
    if (!isKnown(a) || !isKnown(b)) return isKnown(b) - isKnown(a);
    return sign * ((a > b) - (a < b));
  };
}

function list() {
  const part = $("films-id").value.trim().toLowerCase();
  const passes = PASSES[$("films-show").value];
  shown = films.filter((f) => passes(f) && f.id.toLowerCase().includes(part));
  if ($("films-sort").value) shown.sort(comparison($("films-sort").value));
  $("films-count").textContent = `${shown.length} of ${films.length} films`;
  thumbs.disconnect();
  $("films-list").textContent = "";
  listed = 0;
  listMore();
}

$("films-find").addEventListener("input", list);
$("films-find").addEventListener("submit", (event) => event.preventDefault());
$("films-list").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) open(Number(button.dataset.index));
});

// ---------------------------------------------------------------- one film

const MOST_ZOOM = 16;
const viewer = $("viewer"), stage = $("v-stage"), layers = $("v-layers");
const WHOLE = {centre: 127.5, width: 255};  // The window that changes nothing.
let at = 0;                                 // Index into `shown`.
let pictures = {};                          // The film's layers by kind.
let grey = {...WHOLE};                      // Kept from film to film.
let zoom = {scale: 1, x: 0, y: 0};          // Pixels of the stage, of the left top.
const is = {mask: true, heat: false, drag: false, help: false};

function open(index) {
  if (!viewer.open) viewer.showModal();
  show(index);
}

function show(index) {
  at = Math.max(0, Math.min(shown.length - 1, index));
  const film = shown[at];
  // New elements: an old picture must never stand under a new id while that loads.
  layers.textContent = "";
  $("v-error").hidden = true;
  pictures = {};
  layer("pictures", `Film ${film.id}`).addEventListener("load", () => {
    if (at + 1 < shown.length) new Image().src = url("pictures", shown[at + 1]);
  });
  $("v-id").textContent = film.id;
  $("v-count").textContent = `${at + 1} of ${shown.length}`;
  $("v-warnings").textContent = film.warnings || "";
  $("v-facts").textContent = "";
  $("v-facts").append(...said(film).map((text) => element("span", text)));
  $("v-previous").disabled = at === 0;
  $("v-next").disabled = at === shown.length - 1;
  $("v-mask").disabled = !film.area;
  $("v-heat").disabled = !film.heat;
  remember(`#film=${encodeURIComponent(film.id)}`);
  resetZoom();
  draw();
}

// What is known of a film, as short texts.
function said(film) {
  const texts = [];
  const add = (value, text) => { if (isKnown(value)) texts.push(text(value)); };
  add(film.probability, (p) => `probability ${p.toFixed(3)}`);
  const mm2 = isKnown(film.area_mm2) ? ` (${number(film.area_mm2)} mm²)` : "";
  texts.push(film.area ? `mask ${number(film.area)} px${mm2}` : "no mask");
  add(film.regions, (count) => `regions ${count}`);
  add(film.side, (side) => `half of the image: ${side}`);
  add(film.guard, (score) => `guard ${score.toPrecision(3)} (limit 1)`);
  texts.push(`film ${film.width} × ${film.height}`);
  if (facts.keepsMaps && !film.heat) texts.push("no map: the gate was closed");
  return texts;
}

// Adds a picture of the film above the others.
function layer(kind, alt) {
  const picture = new Image();
  const film = shown[at];
  picture.alt = alt;
  picture.className = kind;
  picture.draggable = false;
  picture.addEventListener("error", () => {
    if (pictures[kind] !== picture) return;
    $("v-error").textContent = `${url(kind, film)} is missing or damaged.`;
    $("v-error").hidden = false;
  });
  picture.src = url(kind, film);
  pictures[kind] = picture;
  layers.append(picture);
  return picture;
}

// Makes everything look as the state says.
function draw() {
  const film = shown[at];
  const wanted = {heat: is.heat && film.heat, masks: is.mask && film.area > 0};
  for (const kind of Object.keys(wanted)) {
    if (wanted[kind] && !pictures[kind]) layer(kind, "");
    if (!pictures[kind]) continue;
    pictures[kind].hidden = !wanted[kind];
    pictures[kind].style.opacity = $("v-opacity").value / 100;
  }
  for (const name of Object.keys(is)) $(`v-${name}`).setAttribute("aria-pressed", is[name]);
  $("v-keys").hidden = !is.help;
  $("v-scale").hidden = !wanted.heat;
  stage.classList.toggle("moves", is.drag);
  drawWindow();
  const width = fitted().width, height = fitted().height;
  Object.assign(layers.style, {width: `${width}px`, height: `${height}px`,
    transform: `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`});
  $("v-values").textContent = `window ${Math.round(grey.width)}, ` +
    `centre ${Math.round(grey.centre)}, zoom ${number(zoom.scale)}`;
}

// The window of DICOM's LINEAR_EXACT, PS3.3 C.11.2.1.3.2, from grey values 0..255 to
// 0..1: (value - centre) / width + 0.5. A filter's values are in 0..1, too.
function drawWindow() {
  const isWhole = grey.width === WHOLE.width && grey.centre === WHOLE.centre;
  for (const part of document.querySelectorAll("#v-window feComponentTransfer > *")) {
    part.setAttribute("slope", 255 / grey.width);
    part.setAttribute("intercept", 0.5 - grey.centre / grey.width);
  }
  pictures.pictures.style.filter = isWhole ? "none" : "url(#v-window)";
}

function setWindow(width, centre) {
  grey = {
    width: Math.max(1, Math.min(1020, width)),
    centre: Math.max(-255, Math.min(510, centre)),
  };
  draw();
}

// The film's size where it fits into the stage.
function fitted() {
  const ratio = shown[at].ratio;
  const width = Math.min(stage.clientWidth, stage.clientHeight * ratio);
  return {width, height: width / ratio};
}

function resetZoom() {
  zoom = {scale: 1, x: 0, y: 0};
  moveTo(0, 0);
}

// Moves the film's left top to a point; a side that fits into the stage stays centred.
function moveTo(x, y) {
  const {width, height} = fitted();
  const kept = (position, size, room) => size <= room
    ? (room - size) / 2 : Math.max(room - size, Math.min(0, position));
  zoom.x = kept(x, width * zoom.scale, stage.clientWidth);
  zoom.y = kept(y, height * zoom.scale, stage.clientHeight);
}

// Zooms by a factor; what was at a point of the stage is at another one, or stays.
const centre = () => ({x: stage.clientWidth / 2, y: stage.clientHeight / 2});
function zoomBy(factor, from = centre(), to = from) {
  const scale = Math.max(1, Math.min(MOST_ZOOM, zoom.scale * factor));
  const grown = scale / zoom.scale;
  zoom.scale = scale;
  moveTo(to.x - (from.x - zoom.x) * grown, to.y - (from.y - zoom.y) * grown);
  draw();
}

function toggle(name) {
  if ($(`v-${name}`).disabled || $(`v-${name}`).hidden) return;
  is[name] = !is[name];
  draw();
}

function reset() {
  grey = {...WHOLE};
  resetZoom();
  draw();
}

function remember(hash) {
  // Some browsers let no page from a disk change its address.
  try { history.replaceState(null, "", hash); } catch (error) { /* Only a comfort. */ }
}

// ---------------------------------------------------------------- mouse and touch

const pointers = new Map();  // {id of a finger or mouse that is down: its last point}
let pressed = null;          // Where and when the only one went down; null after two.
let lastTap = {time: -Infinity, x: 0, y: 0};

function pointOf(event) {
  const box = stage.getBoundingClientRect();
  return {x: event.clientX - box.left, y: event.clientY - box.top};
}

function middle() {
  const [a, b] = [...pointers.values()];
  return {x: (a.x + b.x) / 2, y: (a.y + b.y) / 2,
    apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y))};
}

stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, pointOf(event));
  pressed = pointers.size === 1 ? {...pointOf(event), time: event.timeStamp} : null;
});

stage.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = pointOf(event);
  if (pointers.size === 2) {
    const from = middle();
    pointers.set(event.pointerId, now);
    const to = middle();
    zoomBy(to.apart / from.apart, from, to);
    return;
  }
  pointers.set(event.pointerId, now);
  const right = now.x - before.x, down = now.y - before.y;
  if (is.drag || event.shiftKey || event.buttons & 6) {
    moveTo(zoom.x + right, zoom.y + down);
    draw();
  } else {
    // Up makes the film brighter.
    setWindow(grey.width + right, grey.centre + down);
  }
});

function released(event) {
  pointers.delete(event.pointerId);
  if (!pressed || event.type !== "pointerup") return;
  const {x, y} = pointOf(event);
  const near = (point) => Math.hypot(x - point.x, y - point.y) < 24;
  if (!near(pressed) || event.timeStamp - pressed.time > 300) return;
  const isDouble = event.timeStamp - lastTap.time < 350 && near(lastTap);
  lastTap = {time: isDouble ? -Infinity : event.timeStamp, x, y};
  if (isDouble) zoomBy(zoom.scale > 1 ? 1 / zoom.scale : 3, {x, y});
}
stage.addEventListener("pointerup", released);
stage.addEventListener("pointercancel", released);
stage.addEventListener("contextmenu", (event) => event.preventDefault());
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : 1;
  zoomBy(2 ** (-event.deltaY * lines / 400), pointOf(event));
}, {passive: false});

// ---------------------------------------------------------------- buttons and keys

const DOES = {
  previous: () => show(at - 1),
  next: () => show(at + 1),
  mask: () => toggle("mask"),
  heat: () => toggle("heat"),
  drag: () => toggle("drag"),
  help: () => toggle("help"),
  in: () => zoomBy(1.5),
  out: () => zoomBy(1 / 1.5),
  reset,
  close: () => viewer.close(),
};
const KEYS = {ArrowLeft: "previous", ArrowRight: "next", m: "mask", h: "heat", d: "drag",
  "?": "help", "+": "in", "=": "in", "-": "out", "0": "reset"};

for (const name of Object.keys(DOES)) $(`v-${name}`).addEventListener("click", DOES[name]);
$("v-opacity").addEventListener("input", draw);
// Of the document, which has the focus after a click on the film.
document.addEventListener("keydown", (event) => {
  if (!viewer.open) return;
  const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const isSlider = event.target === $("v-opacity") && event.key.startsWith("Arrow");
  if (!name || isSlider || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  DOES[name]();
});
viewer.addEventListener("cancel", (event) => {
  if (!is.help) return;
  event.preventDefault();
  toggle("help");
});
viewer.addEventListener("close", () => {
  pointers.clear();
  remember("#films");
  while (listed <= at && listed < shown.length) listMore();
  $("films-list").children[at].focus();
});
new ResizeObserver(() => {
  if (!viewer.open) return;
  moveTo(zoom.x, zoom.y);
  draw();
}).observe(stage);

$("v-heat").hidden = !facts.keepsMaps;
$("v-no-heat").hidden = Boolean(facts.keepsMaps);
$("films-find").hidden = false;
list();
const asked = /^#film=(.*)$/.exec(location.hash);
if (asked) {
  const index = shown.findIndex((film) => encodeURIComponent(film.id) === asked[1]);
  if (index >= 0) open(index);
}
})();
