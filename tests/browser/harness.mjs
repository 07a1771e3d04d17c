// The real viewer in front of the real server, and a browser.
import { spawn } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = path.join(process.env.DENOISE_BUILD ?? path.join(root, "build"), "bin");
const denoised = process.env.DENOISED ?? path.join(bin, "denoised");

// Starts a program, and waits for its ready line.
function start(program, flags, ready) {
  const child = spawn(program, flags, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const exited = new Promise((resolve) => child.on("exit", resolve));
  child.stderr.on("data", (data) => {
    output += data;
  });
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
      const found = ready.exec(text);
      if (found) resolve({ child, exited, found });
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${program} ended with ${code}: ${output}`)));
  });
}

export async function startServer(listen = "127.0.0.1:0", metrics = "127.0.0.1:0") {
  const model = path.join(root, "models", "digits");
  const server = await start(
    denoised,
    ["--model", model, "--listen", listen, "--metrics-listen", metrics],
    /ready grpc=(\S+) metrics=(\S+)/,
  );
  return { ...server, grpc: server.found[1], metrics: server.found[2] };
}

export async function startViewer(server, ...flags) {
  const viewer = await start(
    path.join(bin, "denoise-viewer"),
    ["--server", server.grpc, "--metrics", server.metrics, "--listen", "127.0.0.1:0", ...flags],
    /ready (\S+)/,
  );
  return { ...viewer, url: viewer.found[1] };
}

export function end(process_, signal = "SIGTERM") {
  if (!process_ || process_.child.exitCode !== null || process_.child.signalCode !== null) return process_?.exited;
  process_.child.kill(signal);
  return process_.exited;
}

// Root, as in a container, has no sandbox.
export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
