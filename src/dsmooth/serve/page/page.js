"use strict";

// Everything that comes from the server is shown as text: labels are a stranger's words.
const at = (id) => document.getElementById(id);
const show = (id, shown) => { at(id).hidden = !shown; };
let picture = null;  // the file that is being certified
let key = "";  // of a server that needs one; forgotten with the page
let leaving = new AbortController();  // of the job that is being followed
let turn = 0;  // what comes back for an earlier picture is thrown away
let claim = null;
let pictured = null;  // the claim whose radius was drawn
let seen = null;  // what the classifier sees of the picture: PNG in base64

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  } catch (error) {
    throw options.signal?.aborted ? error : new Error("The server does not answer.");
  }
  if (response.ok) return response;
  const value = await response.json().catch(() => ({}));
  if (response.status === 401) askForKey(value.error);
  throw Object.assign(new Error(value.error || `The server answered ${response.status}.`), { settled: true });
}

const asked = async (path, options) => (await request(path, options)).json();

function askForKey(error) {
  if (key) failed("key-error", new Error(error));
  show("let-in", true);
  at("key").focus();
}

async function letIn(event) {
  event.preventDefault();
  key = at("key").value.trim();
  show("key-error", false);
  show("error", false);
  try {
    if (!/^[!-~]+$/.test(key)) throw new Error("A key consists of printable ASCII characters without spaces.");
    await offerSamples();
    show("let-in", false);
    at("status").textContent = "The key is accepted.";
  } catch (error) {
    failed("key-error", error);
  }
}

const brush = (id) => at(id).getContext("2d", { willReadFrequently: true });

async function draw(id, base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = at(id);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  brush(id).drawImage(bitmap, 0, 0);
}

function failed(id, error) {
  at(id).textContent = error.message;
  show(id, true);
}

async function certify(file) {
  const mine = ++turn;
  picture = file;
  leaving.abort();
  leaving = new AbortController();
  claim = seen = null;
  for (const id of ["error", "shown", "votes", "promise", "pictured", "attacked", "attack"]) show(id, false);
  at("status").textContent = "Loading the picture.";
  try {
    const job = await asked("v1/jobs", { method: "POST", body: file });
    if (mine !== turn) return;
    at("status").textContent = "Classifying noisy copies.";
    await Promise.all([follow(mine, job.id), showNoise(mine, file)]);
  } catch (error) {
    if (mine !== turn) return;
    at("status").textContent = "";
    failed("error", error);
  }
}

async function showNoise(mine, file) {
  const shown = await asked("v1/show", { method: "POST", body: file });
  if (mine !== turn) return;
  seen = shown.picture;
  at("plain").textContent = shown.answer === null ? "Not queried: the classifier is a paid service." : shown.answer;
  at("sigma").textContent = shown.sigma;
  await draw("noisy", shown.noisy);
  await draw("denoised", shown.denoised || shown.noisy);
  slide();
  show("shown", true);
  at("attack").dataset.allowed = shown.attack && shown.answer !== null ? "yes" : "";
  offerAttack();
  await drawRadius();
}

function slide() {
  at("denoised").style.clipPath = `inset(0 0 0 ${100 - at("slider").value}%)`;
}

async function follow(mine, id) {
  const { signal } = leaving;
  for (let lost = 0; mine === turn; lost++) {
    if (lost > 3) throw new Error("The connection to the server was lost.");
    try {
      const { body } = await request(`v1/jobs/${id}/events`, { signal });
      if (await heard(mine, body.pipeThrough(new TextDecoderStream()).getReader())) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error.settled) throw error;
    }
    await new Promise((again) => setTimeout(again, 500));
  }
}

// Server-sent events, read by hand: a browser's own reader sends no key. True once the job has ended.
async function heard(mine, reader) {
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done || mine !== turn) return false;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (!data) continue;
      const job = JSON.parse(data.slice("data: ".length));
      bars(job.votes.estimation);
      if (job.state === "done") await concluded(job.certificate);
      if (job.state === "failed") {
        at("status").textContent = "";
        failed("error", new Error(job.error));
      }
      if (job.state === "done" || job.state === "failed") return true;
    }
  }
}

function bars(votes) {
  show("votes", true);
  at("counted").textContent = votes.trials;
  at("asked").textContent = votes.asked;
  at("bars").replaceChildren(...votes.top.map((row) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    const bar = document.createElement("progress");
    const count = document.createElement("span");
    name.textContent = row.name;
    bar.max = votes.asked;
    bar.value = row.votes;
    bar.setAttribute("aria-label", row.name);
    count.textContent = row.votes;
    item.append(name, bar, count);
    return item;
  }));
}

async function concluded(certificate) {
  claim = certificate;
  at("status").textContent = certificate.cached ? "Answered with the existing certificate." : "Done.";
  at("answer").textContent = certificate.abstained ? "Abstains" : certificate.name;
  at("words").textContent = words(certificate);
  at("count").textContent = `${certificate.votes.answer} of ${certificate.votes.trials}`;
  at("radius").textContent = certificate.abstained ? "none" : `${certificate.radius} (l${certificate.norm})`;
  at("alpha").textContent = `at most ${certificate.alpha}`;
  at("commitment").textContent = certificate.commitment;
  show("promise", true);
  offerAttack();
  await drawRadius();
}

function words(certificate) {
  if (certificate.abstained) return "The votes do not agree enough: nothing is certified about this picture.";
  if (certificate.norm === "2") {
    const radius = Number(certificate.radius);
    const much = radius < 1 ? `one colour value changed by ${Math.floor(2550 * radius) / 10} of 255`
      : `${Math.floor(radius * radius)} colour values changed from black to white`;
    return `No change of the pixels with an l2 length (the root of the sum of squares, with white at 1) below ` +
      `${certificate.radius} alters this answer: as much as ${much}, or many values changed by less.`;
  }
  return `No change of the pixels below ${certificate.radius} in the l${certificate.norm} distance alters this answer.`;
}

// A change as long as the radius, where it is easiest to see: all of it in one small square.
async function drawRadius() {
  if (claim === pictured || claim === null || seen === null || claim.abstained || !(Number(claim.radius) > 0)) return;
  const bound = pictured = claim;
  const length = 255 * Number(bound.radius), norm = bound.norm === "inf" ? Infinity : Number(bound.norm);
  await draw("marked", seen);
  if (bound !== claim) return;
  const canvas = at("marked"), side = Math.max(1, Math.round(Math.min(canvas.width, canvas.height) / 16));
  const each = Math.min(255, length / (3 * side * side) ** (1 / norm)), magnified = Math.max(1, Math.floor(128 / each));
  const x = Math.round((canvas.width - side) / 2), y = Math.round((canvas.height - side) / 2);
  const pixels = brush("marked").getImageData(x, y, side, side);
  pixels.data.forEach((value, i) => {
    if (i % 4 < 3) pixels.data[i] = Math.round(value < 128 ? value + each : value - each);
  });
  brush("marked").putImageData(pixels, x, y);
  const mark = at("mark"), context = brush("mark");
  mark.width = canvas.width;
  mark.height = canvas.height;
  context.fillStyle = "rgb(128 128 128)";
  context.fillRect(0, 0, mark.width, mark.height);
  const grey = Math.min(255, Math.round(128 + magnified * each));
  context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
  context.fillRect(x, y, side, side);
  at("mark-words").textContent = `Left: a change of this length, concentrated in ${side} by ${side} pixels in the middle, where every ` +
    `colour value changes by ${Math.floor(10 * each) / 10} of 255. Right: the change alone, magnified ` +
    `${magnified} times. The answer holds for any change of this length.`;
  show("pictured", true);
}

async function download() {
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await (await request(`v1/certificates/${claim.certificate}`)).blob());
    link.download = "certificate.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    failed("error", error);
  }
}

function offerAttack() {
  const certified = claim !== null && !at("promise").hidden && !claim.abstained && Number(claim.radius) > 0;
  show("attack", certified && at("attack").dataset.allowed === "yes");
}

function say(id, text, kind) {
  at(id).textContent = text;
  at(id).className = kind;
}

async function attack() {
  const mine = turn;
  at("attack").disabled = true;
  at("status").textContent = "Looking for a change within the radius that fools the classifier alone.";
  try {
    const found = await asked(`v1/attack?radius=${claim.radius}`, { method: "POST", body: picture });
    if (mine !== turn) return;
    await draw("moved", found.picture);
    await draw("difference", found.difference);
    at("magnified").textContent = found.magnified;
    const held = found.smoothed === claim.name;
    say("alone", found.before === found.after ? `still says ${found.after}` : `said ${found.before}, now says ${found.after}`,
      found.before === found.after ? "" : "fallen");
    say("smoothed", found.smoothed === null ? "gives no answer" : `${held ? "still says" : "says"} ${found.smoothed}`,
      held ? "standing" : "");
    at("distance").textContent = `${found.distance}, within the radius`;
    show("attacked", true);
    at("status").textContent = "Done.";
  } catch (error) {
    if (mine === turn) failed("error", error);
  } finally {
    at("attack").disabled = false;
  }
}

const base64 = (file) => new Promise((done, lost) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => lost(new Error("The file cannot be read."));
  reader.readAsDataURL(file);
});

async function check() {
  show("check-error", false);
  show("checks", false);
  at("checked").textContent = "";
  try {
    const [file] = at("document").files;
    if (!file) throw new Error("Choose a certificate file first.");
    const body = { certificate: await base64(file) };
    if (at("original").files.length) body.picture = await base64(at("original").files[0]);
    const found = await asked("v1/verify", { method: "POST", body: JSON.stringify(body) });
    at("checked").textContent = found.holds
      ? "Consistent: everything that can be checked without the networks holds."
      : "It does not hold.";
    at("checks").tBodies[0].replaceChildren(...found.checks.map((row) => {
      const line = document.createElement("tr");
      for (const text of [row.what, row.outcome, row.detail]) line.insertCell().textContent = text;
      return line;
    }));
    show("checks", true);
  } catch (error) {
    failed("check-error", error);
  }
}

function choose(tab) {
  for (const each of document.querySelectorAll('[role="tab"]')) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    show(each.getAttribute("aria-controls"), chosen);
  }
}

async function offerSamples() {
  const { names } = await asked("v1/samples");
  at("samples").replaceChildren("Or use one of these: ");
  for (const [number, name] of names.entries()) {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", async () => certify(await (await request(`v1/samples/${number}`)).blob()));
    at("samples").append(button, " ");
  }
  show("samples", names.length > 0);
}

offerSamples().catch(() => show("samples", false));
for (const tab of document.querySelectorAll('[role="tab"]')) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tab.nextElementSibling || tab.previousElementSibling;
    choose(other);
    other.focus();
  });
}
at("picture").addEventListener("change", (event) => { if (event.target.files.length) certify(event.target.files[0]); });
at("slider").addEventListener("input", slide);
at("attack").addEventListener("click", attack);
at("download").addEventListener("click", download);
at("let-in").addEventListener("submit", letIn);
at("check").addEventListener("click", check);
at("drop").addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) certify(event.dataTransfer.files[0]);
});
