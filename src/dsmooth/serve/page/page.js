"use strict";

// Everything that comes from the server is shown as text: labels are a stranger's words.
const at = (id) => document.getElementById(id);
const show = (id, shown) => { at(id).hidden = !shown; };
let picture = null;  // the file that is being certified
let events = null;  // the job's event stream
let turn = 0;  // what comes back for an earlier picture is thrown away
let claim = null;

async function asked(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  const value = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(value.error || `The server answered ${response.status}.`);
  return value;
}

async function draw(id, base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = at(id);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}

function failed(id, error) {
  at(id).textContent = error.message;
  show(id, true);
}

async function certify(file) {
  const mine = ++turn;
  picture = file;
  if (events) events.close();
  for (const id of ["error", "shown", "votes", "promise", "attacked", "attack"]) show(id, false);
  at("status").textContent = "Looking at the picture.";
  try {
    const job = await asked("v1/jobs", { method: "POST", body: file });
    if (mine !== turn) return;
    at("status").textContent = "Asking noisy copies.";
    follow(mine, job.id);
    await showNoise(mine, file);
  } catch (error) {
    if (mine !== turn) return;
    at("status").textContent = "";
    failed("error", error);
  }
}

async function showNoise(mine, file) {
  const shown = await asked("v1/show", { method: "POST", body: file });
  if (mine !== turn) return;
  at("plain").textContent = shown.answer === null ? "It is a service: it was not asked." : shown.answer;
  at("sigma").textContent = shown.sigma;
  await draw("noisy", shown.noisy);
  await draw("denoised", shown.denoised || shown.noisy);
  slide();
  show("shown", true);
  at("attack").dataset.allowed = shown.attack && shown.answer !== null ? "yes" : "";
  offerAttack();
}

function slide() {
  at("denoised").style.clipPath = `inset(0 0 0 ${100 - at("slider").value}%)`;
}

function follow(mine, id) {
  events = new EventSource(`v1/jobs/${id}/events`);
  const heard = (event) => {
    if (mine !== turn) return;
    const job = JSON.parse(event.data);
    bars(job.votes.estimation);
    if (job.state === "done") concluded(job.certificate);
    if (job.state === "failed") {
      at("status").textContent = "";
      failed("error", new Error(job.error));
    }
    if (job.state === "done" || job.state === "failed") events.close();
  };
  for (const kind of ["votes", "done", "failed"]) events.addEventListener(kind, heard);
  events.onerror = () => {
    if (mine !== turn || events.readyState !== EventSource.CLOSED) return;
    failed("error", new Error("The connection to the server was lost."));
  };
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

function concluded(certificate) {
  claim = certificate;
  at("status").textContent = certificate.cached ? "Answered by the certificate that exists." : "Done.";
  at("answer").textContent = certificate.abstained ? "No promise" : certificate.name;
  at("words").textContent = words(certificate);
  at("count").textContent = `${certificate.votes.answer} of ${certificate.votes.trials}`;
  at("radius").textContent = certificate.abstained ? "none" : `${certificate.radius} (l${certificate.norm})`;
  at("alpha").textContent = `at most ${certificate.alpha}`;
  at("commitment").textContent = certificate.commitment;
  at("download").href = `v1/certificates/${certificate.certificate}`;
  show("promise", true);
  offerAttack();
}

function words(certificate) {
  if (certificate.abstained) return "The votes do not agree enough: nothing is promised about this picture.";
  if (certificate.norm === "2") {
    const levels = Math.floor(2550 * Number(certificate.radius)) / 10;
    return `No change of all pixels together whose length (the root of the sum of squares, white being 1) is below ` +
      `${certificate.radius} alters this answer: as much as one colour value moved by ${levels} of 255, or many by less.`;
  }
  return `No change of the pixels below ${certificate.radius} in the l${certificate.norm} distance alters this answer.`;
}

function offerAttack() {
  const certified = claim !== null && !at("promise").hidden && !claim.abstained && Number(claim.radius) > 0;
  show("attack", certified && at("attack").dataset.allowed === "yes");
}

async function attack() {
  const mine = turn;
  at("attack").disabled = true;
  at("status").textContent = "Looking for a change inside the radius that turns the classifier alone.";
  try {
    const found = await asked(`v1/attack?radius=${claim.radius}`, { method: "POST", body: picture });
    if (mine !== turn) return;
    await draw("moved", found.picture);
    await draw("difference", found.difference);
    at("magnified").textContent = found.magnified;
    const alone = found.before === found.after
      ? `The classifier alone still says ${found.after}.`
      : `The classifier alone said ${found.before}, and now says ${found.after}.`;
    const smoothed = found.smoothed === null ? "gives no answer" : `says ${found.smoothed}`;
    at("verdict").textContent = `${alone} The smoothed one ${smoothed}. The change has length ${found.distance}.`;
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
      ? "Consistent: what can be checked without the networks holds."
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
  for (const [number, name] of names.entries()) {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", async () => certify(await (await fetch(`v1/samples/${number}`)).blob()));
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
at("check").addEventListener("click", check);
at("drop").addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
at("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) certify(event.dataTransfer.files[0]);
});
