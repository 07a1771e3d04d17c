// Requests to the viewer. An error is an Error with the server's own words and its `code`.

const AWAY = "The viewer itself does not answer. Is denoise-viewer running?";

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error(AWAY), { code: "VIEWER_AWAY" });
  }
  if (response.ok) return response;
  const document = await response.json().catch(() => ({ message: `HTTP ${response.status}` }));
  throw Object.assign(new Error(document.message), { code: document.code });
}

export async function get(path) {
  return (await request(path, { signal: AbortSignal.timeout(8000) })).json();
}

// Starts a run and yields its events until it ends; aborting `signal` cancels it on the server too.
export async function* run(document, signal) {
  const response = await request("/api/runs", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(new Error(AWAY), { code: "VIEWER_AWAY" });
    }
    if (part.done) return;
    const events = (text + part.value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ")) yield JSON.parse(event.slice(6));
    }
  }
}
