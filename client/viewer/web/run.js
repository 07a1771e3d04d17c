// A run's card. What came from elsewhere is set as text, never as markup.

import { terms } from "./chart.js";
import { run } from "./stream.js";

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function bitmapOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

// One canvas of n samples, or of as many as a square needs.
class Grid {
  constructor(caption, count, [, height, width]) {
    Object.assign(this, { height, width, columns: Math.ceil(Math.sqrt(count)) });
    this.canvas = make("canvas");
    this.canvas.width = this.columns * (width + 1) - 1;
    this.canvas.height = Math.ceil(count / this.columns) * (height + 1) - 1;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", caption);
    this.figure = make("figure", {}, make("figcaption", { textContent: caption }), this.canvas);
  }

  draw(pictures) {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pictures.forEach((picture, i) => {
      if (picture) {
        context.drawImage(
          picture,
          (i % this.columns) * (this.width + 1),
          Math.floor(i / this.columns) * (this.height + 1),
        );
      }
    });
  }
}

export class Run {
  // By an event's type. Others are a server's mistake, and fail the run.
  take = {
    accepted: this.accepted,
    state: this.pictured,
    result: this.result,
    term: this.term,
    likelihood: this.likelihood,
  };

  // hooks: at(timestep, alphaBar), say(text), use(bitmap), ended(run, error), removed(run)
  constructor(title, request, model, link, hooks) {
    Object.assign(this, { request, model, hooks, running: true, steps: [], frames: [], count: request.n ?? 1 });
    this.abort = new AbortController();
    this.state = make("p", { className: "state", textContent: "Waiting…" });
    this.link = make("a", { textContent: "Link", hidden: true });
    this.linkFor = link;
    this.useButton = make("button", { type: "button", textContent: "Draw on it", hidden: true });
    this.useButton.onclick = () => hooks.use(this.final[0]);
    this.button = make("button", { type: "button", textContent: "Cancel" });
    this.button.onclick = () => (this.running ? this.abort.abort() : this.remove());
    this.body = make("div");
    this.card = make(
      "article",
      { className: "card" },
      make("header", {}, make("h3", { textContent: title }), this.link, this.useButton, this.button),
      this.body,
      this.state,
    );
    this.card.setAttribute("aria-label", title);
    if (request.kind === "evaluate") this.layEvaluation();
    else this.layGrids();
  }

  layGrids() {
    this.grids = { xt: new Grid("x\u209c, the state", this.count, this.model.sample_shape) };
    if (this.request.kind === "sample") {
      this.grids.x0 = new Grid("x̂\u2080, the prediction", this.count, this.model.sample_shape);
    }
    this.slider = make("input", { type: "range", min: 0, max: 0, value: 0, disabled: true });
    this.slider.setAttribute("aria-label", "Step of the chain");
    this.slider.oninput = () => {
      this.follow = Number(this.slider.value) === this.frames.length - 1;
      this.show();
    };
    this.follow = true;
    this.readout = make("output");
    this.body.append(
      make("div", { className: "grids" }, ...Object.values(this.grids).map((g) => g.figure)),
      make("div", { className: "scrub" }, this.slider, this.readout),
    );
  }

  layEvaluation() {
    this.terms = [];
    this.bits = make("p", { className: "bits figure", textContent: "…" });
    this.chart = make("div");
    this.body.append(this.bits, this.chart);
  }

  remove() {
    this.abort.abort();
    this.card.remove();
    this.hooks.removed(this);
  }

  async start() {
    let error = null;
    let ended = false;
    try {
      for await (const event of run(this.request, this.abort.signal)) {
        if (event.type === "error") throw Object.assign(new Error(event.message), { code: event.code });
        await this.take[event.type].call(this, event);
        ended = event.type === "result" || event.type === "likelihood" || this.request.kind === "diffuse";
      }
      if (!ended) throw new Error("The stream broke off before its end.");
    } catch (caught) {
      error = caught;
    }
    this.running = false;
    this.button.textContent = "Remove";
    if (error) {
      const cancelled = error.name === "AbortError";
      this.state.textContent = cancelled ? "Cancelled." : `Failed: ${error.message}`;
      this.state.classList.toggle("failed", !cancelled);
    } else if (this.request.kind === "diffuse") {
      this.state.textContent = "Done.";
    }
    this.card.dataset.state = error ? (error.name === "AbortError" ? "cancelled" : "failed") : "done";
    this.hooks.say(this.state.textContent);
    this.hooks.ended(this, error);
  }

  accepted(event) {
    this.total = event.total_steps;
    this.seed = event.seed;
    this.state.textContent =
      event.queue_position > 0 ? `Queued behind ${event.queue_position}…` : `Seed ${event.seed}…`;
    if (this.linkFor) {
      this.link.href = this.linkFor(event.seed);
      this.link.hidden = false;
    }
  }

  async pictured(event) {
    const picture = event.png ? await bitmapOf(event.png) : null;
    let at = this.steps.indexOf(event.step);
    if (at < 0) {
      at = this.steps.findIndex((step) => step > event.step);
      if (at < 0) at = this.steps.length;
      this.steps.splice(at, 0, event.step);
      this.frames.splice(at, 0, {
        step: event.step,
        timestep: event.timestep,
        alphaBar: event.alpha_bar,
        xt: [],
        x0: [],
      });
    }
    this.frames[at][event.content][event.sample] = picture;
    this.slider.max = this.frames.length - 1;
    this.slider.disabled = false;
    if (this.follow) this.slider.value = this.frames.length - 1;
    if (!this.drawing) {
      this.drawing = true;
      requestAnimationFrame(() => {
        this.drawing = false;
        this.show();
      });
    }
  }

  // The newest picture of each sample up to the scrubbed frame.
  show() {
    const at = Number(this.slider.value);
    const frame = this.frames[at];
    if (!frame) return;
    for (const [content, grid] of Object.entries(this.grids)) {
      grid.draw(
        Array.from({ length: this.count }, (_, i) => {
          for (let back = at; back >= 0; back--) {
            if (this.frames[back][content][i]) return this.frames[back][content][i];
          }
          return null;
        }),
      );
    }
    const t = frame.timestep < 0 ? "clean" : `t ${Math.round(frame.timestep)}`;
    const of = this.request.kind === "diffuse" ? "" : `step ${frame.step} of ${this.total} · `;
    this.readout.textContent = `${of}${t} · ᾱ ${frame.alphaBar.toFixed(4)}`;
    this.slider.setAttribute("aria-valuetext", this.readout.textContent);
    this.hooks.at(frame.timestep, frame.alphaBar);
  }

  async result(event) {
    this.final = await Promise.all(event.pngs.map(bitmapOf));
    this.useButton.hidden = !this.model.drawable;
    const dropped = event.states_dropped ? ` ${event.states_dropped} states were left out on a slow way.` : "";
    this.state.textContent =
      `Done: seed ${this.seed}, ${event.sampling_seconds.toFixed(2)} s, ` +
      `${event.rows} denoiser rows, ${event.queue_seconds.toFixed(2)} s in the queue.${dropped}`;
  }

  term(event) {
    this.terms.push([event.timestep, event.bits_per_dim[0]]);
    this.state.textContent = `${this.terms.length} terms…`;
    if (!this.drawing) {
      this.drawing = true;
      requestAnimationFrame(() => {
        this.drawing = false;
        terms(this.chart, this.terms, this.model.num_train_timesteps - 1);
      });
    }
  }

  likelihood(event) {
    const error = event.standard_error[0];
    this.bits.replaceChildren(
      event.bits_per_dim[0].toFixed(3),
      make("small", {
        textContent: ` bits per dimension${error > 0 ? `, ± ${error.toFixed(3)}` : ""}`,
      }),
    );
    this.state.textContent = `Done: an upper bound from ${this.terms.length} terms, seed ${this.seed}.`;
  }
}
