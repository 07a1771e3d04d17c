// The canvas: a picture of the model's size, and a mask over it.

export class Pad {
  constructor(canvas) {
    this.canvas = canvas;
    this.tool = "pen";
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.last = null;
      this.drag(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) this.drag(event);
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.paint());
    canvas.addEventListener("blur", () => this.paint());
  }

  resize([channels, height, width]) {
    if (this.width === width && this.height === height && this.channels === channels) return;
    Object.assign(this, { channels, height, width });
    this.canvas.width = width;
    this.canvas.height = height;
    this.picture = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    this.cursor = [width >> 1, height >> 1];
    this.clear();
  }

  clear() {
    this.picture.fillStyle = "#000";
    this.picture.fillRect(0, 0, this.width, this.height);
    this.mask = new Uint8Array(this.width * this.height);
    this.paint();
  }

  use(bitmap) {
    this.clear();
    this.picture.drawImage(bitmap, 0, 0, this.width, this.height);
    this.paint();
  }

  drag(event) {
    const box = this.canvas.getBoundingClientRect();
    const to = [
      ((event.clientX - box.left) / box.width) * this.width,
      ((event.clientY - box.top) / box.height) * this.height,
    ];
    const from = this.last ?? to;
    const count = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2));
    for (let i = 1; i <= count; i++) {
      this.dab(from[0] + ((to[0] - from[0]) * i) / count, from[1] + ((to[1] - from[1]) * i) / count);
    }
    this.last = to;
    this.paint();
  }

  key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) {
      this.cursor[0] = Math.min(this.width - 1, Math.max(0, this.cursor[0] + move[0]));
      this.cursor[1] = Math.min(this.height - 1, Math.max(0, this.cursor[1] + move[1]));
    } else if (event.key === " ") {
      this.dab(this.cursor[0] + 0.5, this.cursor[1] + 0.5);
    } else {
      return;
    }
    event.preventDefault();
    this.paint();
  }

  // A soft round brush; the mask's is wider and hard.
  dab(x, y) {
    const radius = Math.max(1, (this.width / 28) * (this.tool === "mask" ? 2.5 : 1.3));
    if (this.tool === "mask") {
      for (let v = 0; v < this.height; v++) {
        for (let u = 0; u < this.width; u++) {
          if (Math.hypot(u + 0.5 - x, v + 0.5 - y) <= radius) this.mask[v * this.width + u] = 1;
        }
      }
      return;
    }
    this.picture.fillStyle = this.tool === "pen" ? "#fff" : "#000";
    this.picture.beginPath();
    this.picture.arc(x, y, radius, 0, 2 * Math.PI);
    this.picture.fill();
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.drawImage(this.picture.canvas, 0, 0);
    context.fillStyle = "rgb(217 138 61 / 60%)";
    this.mask.forEach((set, i) => {
      if (set) context.fillRect(i % this.width, Math.floor(i / this.width), 1, 1);
    });
    if (this.canvas.matches(":focus-visible")) context.fillRect(this.cursor[0], this.cursor[1], 1, 1);
  }

  get masked() {
    return this.mask.includes(1);
  }

  // [C·H·W] bytes.
  bytes() {
    const { data } = this.picture.getImageData(0, 0, this.width, this.height);
    const size = this.width * this.height;
    return Array.from({ length: this.channels * size }, (_, i) => data[(i % size) * 4 + Math.floor(i / size)]);
  }

  // [H·W] bytes, 255 where the picture is kept.
  kept() {
    return Array.from(this.mask, (set) => (set ? 0 : 255));
  }
}
