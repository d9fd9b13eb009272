"use strict";
// The page of `slimyolo serve`. It sends a picture to the server and shows a card for each model: boxes, milliseconds
// and sizes.

const byId = (id) => document.getElementById(id);
const cards = []; // one for each model, in the order of the server
const runtimes = []; // for each model the program that runs it
const recent = []; // for each model its last network times; their median is shown, as single times vary
const MEDIAN_OF = 15;
const TURNS = 5; // how often a single picture is detected; the milliseconds are medians over these turns
// one colour for each class, the same as in the pictures that `slimyolo predict` writes
const COLOURS = [
  "#ff3838", "#1a9334", "#6473ff", "#ff701f", "#2c99a8", "#8438ff", "#92cc17", "#00d4bb", "#520085", "#ffb21d",
  "#3ddb86", "#344593", "#ff37c7", "#cfd231", "#00c2ff", "#0018ec", "#48f90a", "#cb38ff", "#ff9d97", "#ff95c8",
];
let startConf = 0.25; // with which the server was started
let last = null; // {bitmap, blob} of the last picture; it is detected again when the slider moves
let stream = null; // the stream of the camera while it runs, otherwise null
let asking = 0; // number of the newest request; answers to older requests are ignored

function say(text, wrong = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("error", wrong);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function facts(model) {
  const size = model.imgsz[0] === model.imgsz[1] ? `${model.imgsz[0]}` : `${model.imgsz[0]} x ${model.imgsz[1]} (height x width)`;
  const words = [`${model.file_mb.toFixed(2)} MB`];
  if (model.params !== null) words.push(`${(model.params / 1e6).toFixed(2)} M parameters`);
  words.push(model.gflops === null ? `@${size}` : `${model.gflops.toFixed(2)} GFLOPs @${size}`);
  return words.join(" · ");
}

async function start() {
  const answer = await fetch("/api/models");
  const about = await answer.json();
  if (!answer.ok) throw new Error(about.error);
  for (const model of about.models) {
    const card = byId("model").content.cloneNode(true).querySelector("article");
    card.querySelector("h2").textContent = model.name;
    card.querySelector(".facts").textContent = facts(model);
    card.querySelector("canvas").setAttribute("aria-label", `Detections of ${model.name}`);
    byId("models").append(card);
    cards.push(card);
    runtimes.push(model.runtime);
    recent.push([]);
  }
  startConf = about.conf;
  byId("conf").min = Math.min(byId("conf").min, startConf);
  byId("conf").value = chosenConf() ?? startConf;
  showConf();
  byId("limits").textContent = `JPEG, PNG, WebP or BMP, up to ${about.max_mb} MB and ${about.max_megapixels} megapixels`;
  say("Waiting for a picture.");
}

// The confidence that was chosen in this tab, also after the page was loaded again; null when the server starts with another.
function chosenConf() {
  try {
    const [start, chosen] = JSON.parse(sessionStorage.getItem("slimyolo-conf"));
    return start === startConf ? chosen : null;
  } catch {
    return null; // nothing was chosen, or the browser keeps nothing
  }
}

function keepConf() {
  try {
    sessionStorage.setItem("slimyolo-conf", JSON.stringify([startConf, byId("conf").value]));
  } catch { /* the browser keeps nothing */ }
}

function showConf() {
  const conf = Number(byId("conf").value);
  byId("conf-shown").textContent = conf.toFixed(conf < 0.01 ? 3 : 2);
}

// Detects in `blob` and shows the results; false when a newer request was made meanwhile.
async function detect(blob, bitmap, turns) {
  const mine = ++asking;
  try {
    const found = await ask(blob, turns);
    if (mine !== asking) return false;
    show(found, bitmap);
  } catch (error) {
    if (mine !== asking) return false;
    clear(); // otherwise the results of an earlier picture would look like results of this one
    throw error;
  }
  return true;
}

async function ask(blob, turns) {
  let answer;
  try {
    answer = await fetch(`/api/detect?conf=${encodeURIComponent(byId("conf").value)}&repeat=${turns}`, {
      method: "POST",
      headers: { "X-Slimyolo": "1", "Content-Type": blob.type || "application/octet-stream" },
      body: blob,
    });
  } catch {
    throw new Error("slimyolo does not answer. Is slimyolo serve still running?");
  }
  const found = await answer.json().catch(() => ({ error: `slimyolo answered with status ${answer.status}. Try again.` }));
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function clear() {
  for (const times of recent) times.length = 0;
  for (const card of cards) {
    card.querySelector(".ms").textContent = "–";
    card.querySelector(".versus").textContent = "";
    card.querySelector(".found").textContent = "";
    card.querySelector("tbody").replaceChildren();
    const canvas = card.querySelector("canvas");
    canvas.width = 4; // setting a size also erases
    canvas.height = 3;
  }
}

function show(found, bitmap) {
  found.results.forEach((result, index) => {
    recent[index].push(result.ms.network);
    if (recent[index].length > MEDIAN_OF) recent[index].shift();
  });
  const first = median(recent[0]);
  found.results.forEach((result, index) => {
    const card = cards[index];
    const own = median(recent[index]);
    card.querySelector(".ms").textContent = `${own.toFixed(1)} ms`;
    const versus = card.querySelector(".versus");
    const times = first / own;
    const other = runtimes[index] === runtimes[0] ? "" : ` in ${runtimes[0]}`;
    const ratio = index === 0 ? "" : `, ${times.toFixed(2)}× as fast as the first model${other}`;
    versus.textContent = `network in ${runtimes[index]}${ratio}`;
    versus.classList.toggle("faster", index > 0 && times >= 1);
    versus.classList.toggle("slower", index > 0 && times < 1);
    draw(card.querySelector("canvas"), bitmap, found, result.detections);
    const counts = new Map();
    for (const one of result.detections) counts.set(one.name, (counts.get(one.name) || 0) + 1);
    const words = [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "nothing";
    const others = `preparation ${result.ms.prepare.toFixed(1)} ms, NMS ${result.ms.nms.toFixed(1)} ms`;
    card.querySelector(".found").textContent = `Found ${words}. (${others})`;
    fill(card.querySelector("tbody"), result.detections);
  });
}

function fill(body, detections) {
  body.replaceChildren(...detections.map((one) => {
    const row = document.createElement("tr");
    for (const text of [one.name, one.score.toFixed(2), ...one.box.map((value) => value.toFixed(0))]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }));
}

function draw(canvas, bitmap, found, detections) {
  // large pictures are drawn smaller, because a phone cannot hold a canvas of 40 megapixels for each model
  const scale = Math.min(1, 1600 / Math.max(found.width, found.height));
  canvas.width = Math.max(1, Math.round(found.width * scale));
  canvas.height = Math.max(1, Math.round(found.height * scale));
  const pen = canvas.getContext("2d");
  if (bitmap) pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const unit = (canvas.width + canvas.height) / 2;
  const shownShare = canvas.clientWidth / canvas.width || 1;
  const letters = Math.round(Math.max(13 / shownShare, unit * 0.031)); // at least 13 px on the screen
  pen.lineWidth = Math.max(1.5, unit * 0.004);
  pen.font = `${letters}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  for (const one of [...detections].reverse()) { // the best is drawn last, so that it is on top
    const [x1, y1, x2, y2] = one.box.map((value) => value * scale);
    const colour = COLOURS[one.class % COLOURS.length];
    pen.strokeStyle = colour;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${one.name} ${one.score.toFixed(2)}`;
    const width = pen.measureText(text).width + letters * 0.6;
    const height = letters * 1.4;
    const left = Math.max(0, Math.min(x1, canvas.width - width));
    const top = y1 - height >= 0 ? y1 - height : Math.min(y1, canvas.height - height);
    pen.fillStyle = colour;
    pen.fillRect(left, top, width, height);
    pen.fillStyle = inkOn(colour);
    pen.fillText(text, left + letters * 0.3, top + height / 2);
  }
}

function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((value) => (value <= 0.04 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) ** 2 > 0.05 * 1.05 ? "#000" : "#fff";
}

async function take(blob) {
  stopCamera();
  for (const times of recent) times.length = 0;
  say("Detecting …");
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    // the browser cannot show this file; the server answers with the reason
  }
  last = { blob, bitmap };
  try {
    if (await detect(blob, bitmap, TURNS)) say(`${blob.name || "Picture"}: the boxes are given in pixels of the picture.`);
  } catch (error) {
    say(error.message, true);
  }
}

async function runCamera() {
  if (stream) {
    stopCamera();
    return;
  }
  if (!navigator.mediaDevices) {
    say("The browser does not allow the camera at this address. Open the page at http://127.0.0.1 or over https.", true);
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    say(`The camera cannot be used: ${error.message}`, true);
    return;
  }
  const own = stream;
  const video = byId("video");
  video.srcObject = own;
  await video.play();
  byId("camera").textContent = "Stop the camera";
  for (const times of recent) times.length = 0;
  say("The camera is on. Its pictures go only to slimyolo on this machine.");
  const frame = document.createElement("canvas");
  while (stream === own) {
    frame.width = video.videoWidth;
    frame.height = video.videoHeight;
    frame.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => frame.toBlob(done, "image/jpeg", 0.9));
    const bitmap = await createImageBitmap(frame);
    if (stream !== own || !blob) break;
    last = { blob, bitmap };
    try {
      await detect(blob, bitmap, 1);
    } catch (error) {
      say(error.message, true);
      stopCamera();
    }
  }
}

function stopCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  byId("video").srcObject = null;
  byId("camera").textContent = "Use the camera";
}

const drop = byId("drop");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
}
document.addEventListener("drop", (event) => { if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]); });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files[0]); });
byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target.files[0]);
  event.target.value = ""; // allows choosing the same file again
});
byId("camera").addEventListener("click", runCamera);
byId("conf").addEventListener("input", showConf);
byId("conf").addEventListener("change", () => {
  keepConf();
  if (last && !stream) detect(last.blob, last.bitmap, 1).catch((error) => say(error.message, true));
});

start().catch((error) => say(`The page could not start: ${error.message}`, true));
