// The page: the form, the server's state, links, the theme.

import { Schedule } from "./chart.js";
import { Pad } from "./draw.js";
import { Run } from "./run.js";
import { get } from "./stream.js";

const MAX_RUNNING = 4; // a browser opens six connections to one host
const MAX_CARDS = 12;
const POLL_MS = 2000;
const TERMS = 50;

const $ = (id) => document.getElementById(id);
const form = $("form");
const fields = form.elements;
const pad = new Pad($("pad"));
const runs = new Set();
let models = [];
let model = null;
let schedule = null;
let up = false;
let before = null;

// --- theme ---

const dark = matchMedia("(prefers-color-scheme: dark)");
const stored = () => {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
};
function paintTheme() {
  const isDark = (stored() ?? (dark.matches ? "dark" : "light")) === "dark";
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", isDark);
}
dark.addEventListener("change", paintTheme);
$("theme").onclick = () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", next);
  } catch {
    /* a private window: for this page only */
  }
  document.documentElement.dataset.theme = next;
  $("theme").setAttribute("aria-pressed", next === "dark");
};
paintTheme();

// --- models ---

function options(select, pairs) {
  const value = select.value;
  select.replaceChildren(...pairs.map(([key, text]) => new Option(text, key)));
  if (pairs.some(([key]) => String(key) === value)) select.value = value;
}

function useModel(keep) {
  model = models.find((m) => m.name === fields.model.value) ?? models[0];
  for (const label of document.querySelectorAll("[data-classes]")) label.hidden = !model.num_classes;
  options(fields.class, [["", "any"], ...Array.from({ length: model.num_classes }, (_, i) => [i, String(i)])]);
  fields.guidance.disabled = !model.num_classes;
  fields.steps.max = model.num_train_timesteps;
  if (!keep) {
    fields.steps.value = model.default_steps;
    fields.guidance.value = model.default_guidance;
    fields.n.value ||= 9;
  }
  // Latents cannot be drawn, nor begun from.
  for (const part of document.querySelectorAll("[data-drawing]")) part.hidden = !model.drawable;
  if (!model.drawable) fields.start.value = "noise";
  pad.resize(model.sample_shape);
  paintStart();
  schedule = new Schedule($("schedule"), model.alpha_bars);
  $("schedule-text").textContent = "ᾱ over t: how much of the picture is left.";
}

function useModels(document_) {
  const names = JSON.stringify(models.map((m) => [m.name, m.version]));
  models = document_.models;
  $("server-text").textContent =
    `${document_.server} · ${models.length === 1 ? models[0].name : `${models.length} models`}`;
  if (names === JSON.stringify(models.map((m) => [m.name, m.version])) || !models.length) return;
  const first = model === null;
  options(
    fields.model,
    models.map((m) => [m.name, m.name]),
  );
  if (first) readLink();
  else useModel(true);
}

// --- the server's state ---

function figure(list, name, value) {
  const dt = document.createElement("dt");
  const dd = document.createElement("dd");
  dt.textContent = name;
  dd.textContent = value;
  list.push(dt, dd);
}

function showFigures(now) {
  const list = [];
  if (model) {
    figure(list, "Model", `${model.name} v${model.version}, ${model.status.toLowerCase()}`);
    figure(list, "Samples", model.sample_shape.join(" × "));
    figure(list, "Predicts", model.prediction_type);
    figure(list, "Runs on", `${model.executor}, ${model.precision}`);
  }
  if (now) {
    figure(list, "Queue", now.requests_waiting);
    figure(list, "Active chains", now.chains_active);
    if (before && now.rows_total >= before.rows_total) {
      const calls = now.batch_rows_count - before.batch_rows_count;
      figure(list, "Rows a second", ((now.rows_total - before.rows_total) / (now.at - before.at)).toFixed(0));
      figure(list, "Batch size", calls > 0 ? ((now.batch_rows_sum - before.batch_rows_sum) / calls).toFixed(1) : "–");
    }
  }
  $("figures").replaceChildren(...list);
  before = now;
}

function buttons() {
  for (const button of [form.querySelector(".primary"), $("diffuse"), $("evaluate")]) button.disabled = !up || !model;
}

async function poll() {
  try {
    useModels(await get("/api/models"));
    const { figures } = await get("/api/figures");
    up = true;
    $("away").hidden = true;
    showFigures(figures && { ...figures, at: performance.now() / 1000 });
  } catch (error) {
    up = false;
    before = null;
    $("server-text").textContent = "Away";
    const text =
      error.code === "VIEWER_AWAY" ? error.message : `The server cannot be reached: ${error.message}. Trying again…`;
    if ($("away").textContent !== text) $("away").textContent = text;
    $("away").hidden = false;
  }
  $("dot").className = `dot ${up ? "up" : "down"}`;
  buttons();
  setTimeout(poll, POLL_MS);
}

// --- runs ---

function fail(text) {
  $("form-error").textContent = text;
  $("form-error").hidden = !text;
}

function start(title, request, link = null) {
  fail("");
  if ([...runs].filter((r) => r.running).length >= MAX_RUNNING) {
    return fail(`${MAX_RUNNING} runs at once are as many as a browser can follow: cancel one, or wait.`);
  }
  const run = new Run(title, request, model, link, {
    at: (timestep, alphaBar) => {
      schedule.show(timestep, alphaBar);
      $("schedule-text").textContent =
        timestep < 0
          ? "ᾱ = 1: a clean picture."
          : `t = ${Math.round(timestep)}: ᾱ = ${alphaBar.toFixed(4)} of the picture’s variance is left.`;
    },
    say: (text) => {
      $("announce").textContent = text;
    },
    use: (bitmap) => {
      pad.use(bitmap);
      if (fields.start.value === "noise") fields.start.value = "image";
      paintStart();
      $("pad").focus();
    },
    ended: () => {},
    removed: (gone) => {
      runs.delete(gone);
      $("empty").hidden = runs.size > 0;
    },
  });
  runs.add(run);
  for (const old of runs) {
    if (runs.size > MAX_CARDS && !old.running) old.remove();
  }
  $("empty").hidden = true;
  $("runs").prepend(run.card);
  void run.start();
}

const numberOf = (input) => (input.value === "" ? undefined : Number(input.value));

function linkOf(request, seed) {
  const { kind, ...rest } = { ...request, seed };
  return `?${new URLSearchParams(Object.entries(rest).filter(([, v]) => v !== undefined))}`;
}

function sample() {
  const from = fields.start.value;
  if (from === "mask" && !pad.masked)
    return fail("Paint a mask first: choose the mask below Draw, and paint what is to be replaced.");
  const request = {
    kind: "sample",
    model: model.name,
    n: numberOf(fields.n),
    seed: numberOf(fields.seed),
    sampler: fields.sampler.value || undefined,
    steps: numberOf(fields.steps),
  };
  if (model.num_classes) Object.assign(request, { class: numberOf(fields.class), guidance: numberOf(fields.guidance) });
  const title = [
    model.name,
    request.class === undefined ? null : `class ${request.class}`,
    fields.sampler.value ? fields.sampler.selectedOptions[0].text : null,
    `${request.steps} steps`,
    { noise: null, image: "from a drawing", mask: "inpainting" }[from],
  ]
    .filter(Boolean)
    .join(" · ");
  if (from === "noise") return start(title, request, (seed) => linkOf(request, seed));
  request.image = pad.bytes();
  if (from === "image") request.strength = numberOf(fields.strength);
  else request.mask = pad.kept();
  start(title, request);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sample();
});
$("diffuse").onclick = () => {
  const last = model.num_train_timesteps - 1;
  const count = Math.min(40, last + 1);
  const timesteps = [
    ...new Set(Array.from({ length: count }, (_, i) => Math.round((i * last) / Math.max(1, count - 1)))),
  ];
  start(`${model.name} · noising a drawing`, {
    kind: "diffuse",
    model: model.name,
    image: pad.bytes(),
    seed: numberOf(fields.seed),
    timesteps,
  });
};
$("evaluate").onclick = () => {
  const terms = Math.min(TERMS, model.num_train_timesteps);
  const label = model.num_classes ? numberOf(fields.class) : undefined;
  start(`${model.name} · bits per dimension${label === undefined ? "" : ` as class ${label}`}`, {
    kind: "evaluate",
    model: model.name,
    image: pad.bytes(),
    seed: numberOf(fields.seed),
    class: label,
    terms,
  });
};

// --- links: what the address says, the form says; whether it is run, a person says, for any page may link to this one ---

function readLink() {
  const link = new URLSearchParams(location.search);
  if (link.has("model")) fields.model.value = link.get("model");
  if (link.has("model") && fields.model.value !== link.get("model")) {
    fields.model.selectedIndex = 0;
    useModel(false);
    return fail(`The link names the model “${link.get("model")}”, which is not served here.`);
  }
  useModel(false);
  for (const name of ["sampler", "steps", "class", "guidance", "seed", "n"]) {
    if (link.has(name)) fields[name].value = link.get(name);
  }
}

// --- the form's parts ---

function paintStart() {
  $("strength-row").hidden = fields.start.value !== "image";
  $("mask-hint").hidden = fields.start.value !== "mask";
}
form.addEventListener("change", (event) => {
  if (event.target.name === "start") {
    paintStart();
    if (event.target.value === "mask") document.querySelector("[name=tool][value=mask]").click();
  }
});
fields.model.addEventListener("change", () => useModel(false));
fields.strength.addEventListener("input", () => {
  $("strength-value").textContent = Number(fields.strength.value).toFixed(2);
});
for (const tool of document.querySelectorAll("[name=tool]"))
  tool.onchange = () => {
    pad.tool = tool.value;
  };
$("clear").onclick = () => pad.clear();
buttons();
void poll();
