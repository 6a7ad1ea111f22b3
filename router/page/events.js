// Server-sent events over fetch: EventSource can send no token, and a token in the address would end up in logs.

/** Takes the text of a stream bit by bit and calls `onEvent(name, data)` for every whole event. */
export class EventParser {
  #onEvent;
  #rest = "";
  #name = "";
  #data = [];

  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  push(text) {
    this.#rest += text;
    for (;;) {
      const end = this.#rest.search(/\r\n|\r(?=[^])|\n/);
      if (end < 0) return;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (this.#rest.startsWith("\r\n", end) ? 2 : 1));
      this.#take(line);
    }
  }

  #take(line) {
    if (line === "") {
      if (this.#data.length) this.#onEvent(this.#name || "message", this.#data.join("\n"));
      this.#name = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
  }
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
const SILENCE_MS = 25000; // the gateway says something every ten seconds

/**
 * Keeps a stream open, whatever happens to the gateway.
 *
 * `on` is told: `state(name, text)` with connecting, live, away, reconnecting or refused; `status(document)`,
 * and `house(sections)` with those that have changed. Without a token it asks for what anybody may see.
 */
export class StatusStream {
  #url;
  #token;
  #on;
  #abort = null;
  #isOver = false;
  #pauseMs = FIRST_PAUSE_MS;
  #wake = null;

  constructor(url, token, on) {
    this.#url = url;
    this.#token = token;
    this.#on = on;
  }

  stop() {
    this.#isOver = true;
    this.#abort?.abort();
    this.hurry();
  }

  /** Ends a pause: the network is back, or somebody looks at the page again. */
  hurry() {
    this.#wake?.();
  }

  async run() {
    this.#tell("connecting", "connecting");
    while (!this.#isOver) {
      let reason = "the gateway ended the stream";
      let atLeastMs = 0;
      try {
        const response = await this.#open();
        if (response.status === 401 || response.status === 403) {
          this.#tell("refused", response.status === 401 ? "the token was refused" : "refused by the gateway");
          return;
        }
        if (response.ok) {
          await this.#read(response);
        } else {
          reason = `the gateway answered ${response.status}`;
          atLeastMs = 1000 * Number(response.headers.get("retry-after") ?? 0);
        }
      } catch {
        reason = "no connection to the gateway";
      } finally {
        this.#abort?.abort();
      }
      if (!this.#isOver) await this.#pause(reason, atLeastMs);
    }
  }

  async #open() {
    this.#abort = new AbortController();
    const headers = { accept: "text/event-stream" };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    const late = setTimeout(() => this.#abort.abort(), SILENCE_MS);
    try {
      return await fetch(this.#url, { headers, signal: this.#abort.signal, cache: "no-store" });
    } finally {
      clearTimeout(late);
    }
  }

  async #read(response) {
    const parser = new EventParser((name, data) => this.#event(name, JSON.parse(data)));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const late = setTimeout(() => this.#abort.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(late));
      if (done) return;
      parser.push(value);
    }
  }

  #event(name, document) {
    this.#pauseMs = FIRST_PAUSE_MS;
    if (name === "status") {
      this.#tell("live", "live");
      if (!this.#isOver) this.#on.status(document);
    } else if (name === "house") {
      if (!this.#token) this.#tell("live", "live"); // there may be no status for everybody
      if (!this.#isOver) this.#on.house(document);
    } else if (name === "away") {
      this.#tell("away", `controller away: ${document.reason}`);
    }
  }

  async #pause(reason, atLeastMs) {
    const pauseMs = Math.max(atLeastMs, this.#pauseMs * (0.75 + Math.random() / 2));
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#tell("reconnecting", `reconnecting: ${reason}`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, pauseMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  #tell(state, text) {
    if (!this.#isOver) this.#on.state(state, text);
  }
}
