// The unmodified JavaScript client against the Gemini-compatible door of a whole installation.
//
// `python -m tests.js` starts that and says in the environment where it is.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { GoogleGenAI } from "@google/genai";

const { NIGHTDESK_URL, NIGHTDESK_KEY, NIGHTDESK_API_PID, SIMULATOR_URL, HOLD_S } = process.env;
const MODEL = "gemini-3.8-flash";
const WEATHER = {
  type: "function",
  name: "get_weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

// As Google's documentation makes it, but for the base URL and the key.
function connect(apiKey = NIGHTDESK_KEY) {
  return new GoogleGenAI({ apiKey, httpOptions: { baseUrl: `${NIGHTDESK_URL}/gemini` } });
}

const { interactions } = connect();

// The loop of Google's own samples: it knows no other word for a run under way.
async function untilDone(interaction) {
  while (interaction.status === "in_progress") {
    await sleep(100);
    interaction = await interactions.get(interaction.id);
  }
  return interaction;
}

// How many creates with exactly these words the upstream was sent.
async function posts(prompt) {
  const { prompts } = await (await fetch(`${SIMULATOR_URL}/_sim/stats`)).json();
  const hash = createHash("sha256").update(prompt).digest("hex").slice(0, 16);
  return prompts[hash]?.posts ?? 0;
}

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

function refused(status, name, words) {
  return (error) => {
    assert.equal(error.constructor.name, name);
    assert.equal(error.status, status);
    assert.match(error.message, words);
    return true;
  };
}

test("a background interaction is polled to its end", async () => {
  const started = await interactions.create({ model: MODEL, input: "Name three owls.", background: true });

  const ended = await untilDone(started);

  assert.equal(started.status, "in_progress");
  assert.equal(ended.status, "completed");
  assert.match(ended.id, /^job_/);
  assert.match(ended.output_text, /owls/);
  assert.ok(ended.usage.total_tokens > 0);
});

test("a create without background is held to its end", async () => {
  const interaction = await interactions.create({ model: MODEL, input: "Name two owls." });

  assert.equal(interaction.status, "completed");
  assert.match(interaction.output_text, /owls/);
});

test("what the client sends again is not bought again", async () => {
  const prompt = `Slow owls of JavaScript. [[sim: duration=${(Number(HOLD_S) + 1) * 10}]]`;

  const interaction = await interactions.create({ model: MODEL, input: prompt });

  assert.equal(interaction.status, "completed");
  assert.equal(await posts(prompt), 1);
});

test("two equal creates at the same time are two", async () => {
  const prompt = "Sample me, JavaScript.";
  const ask = () => interactions.create({ model: MODEL, input: prompt });

  const [first, second] = await Promise.all([ask(), ask()]);

  assert.notEqual(first.id, second.id);
  assert.equal(await posts(prompt), 2);
});

test("a stream tells the interaction from its creation to its end, and goes on after any event", async () => {
  const events = await collect(await interactions.create({ model: MODEL, input: "Tell of owls.", stream: true }));
  const { id } = events[0].interaction;
  const text = events.map((event) => (event.delta?.type === "text" ? event.delta.text : "")).join("");

  assert.deepEqual(
    events.slice(0, 2).map((event) => event.event_type),
    ["interaction.created", "interaction.status_update"],
  );
  assert.equal(events.at(-1).event_type, "interaction.completed");
  assert.equal(text, (await interactions.get(id)).output_text);
  for (const place of [0, 3, events.length - 2]) {
    const rest = await collect(await interactions.get(id, { stream: true, last_event_id: events[place].event_id }));
    assert.equal(rest.at(-1).event_id, events.at(-1).event_id);
    const told = [...events.slice(0, place + 1), ...rest];
    assert.equal(told.map((event) => (event.delta?.type === "text" ? event.delta.text : "")).join(""), text);
  }
});

test("a conversation goes on by the previous interaction", async () => {
  const first = await interactions.create({ model: MODEL, input: "My name is Ada." });

  const second = await interactions.create({
    model: MODEL,
    input: "What is my name?",
    previous_interaction_id: first.id,
  });

  assert.match(second.output_text, /Ada/);
  assert.equal(second.previous_interaction_id, first.id);
});

test("function results begin the next turn", async () => {
  const asked = await interactions.create({ model: MODEL, input: "The weather in Bonn?", tools: [WEATHER] });
  const results = asked.steps
    .filter((step) => step.type === "function_call")
    .map(({ id, name }) => ({ type: "function_result", call_id: id, name, result: { sky: "clear" } }));

  const answered = await interactions.create({
    model: MODEL,
    input: results,
    previous_interaction_id: asked.id,
    tools: [WEATHER],
  });

  assert.equal(asked.status, "requires_action");
  assert.equal(answered.id, `${asked.id}.2`);
  assert.match(answered.output_text, /clear/);
});

test("an image comes with its bytes", async () => {
  const interaction = await interactions.create({ model: "gemini-3-pro-image", input: "Draw an owl." });

  assert.equal(interaction.output_image.mime_type, "image/png");
  assert.equal(Buffer.from(interaction.output_image.data, "base64").subarray(1, 4).toString(), "PNG");
});

test("a run is cancelled and deleted", async () => {
  const started = await interactions.create({ model: MODEL, input: "Long. [[sim: duration=600]]", background: true });

  const cancelled = await interactions.cancel(started.id);

  assert.equal(cancelled.status, "cancelled");
  while ((await interactions.get(started.id)).status === "in_progress") await sleep(100);
  await interactions.delete(started.id);
  await assert.rejects(interactions.get(started.id), refused(404, "NotFoundError", /no such interaction/));
});

test("refusals throw what they throw at Google", async () => {
  const unstored = interactions.create({ model: MODEL, input: "Hello.", store: false });
  const refusedUpstream = interactions.create({ model: MODEL, input: "Refused. [[sim: nonsense=1]]" });

  // Both are listened to from the start: which of them is refused first is left open.
  await Promise.all([
    assert.rejects(unstored, refused(400, "BadRequestError", /store/)),
    assert.rejects(refusedUpstream, refused(400, "BadRequestError", /simulator directive/)),
  ]);
  await assert.rejects(connect("nd_nobody").interactions.get("job_1"), refused(401, "AuthenticationError", /API key/));
});

test("a create held by a killed process is taken up by the next one", async () => {
  const prompt = "Owls in the dark of JavaScript. [[sim: duration=30]]";
  const held = interactions.create({ model: MODEL, input: prompt }, { maxRetries: 12 });
  while ((await posts(prompt)) === 0) await sleep(50);

  process.kill(Number(NIGHTDESK_API_PID), "SIGKILL");

  assert.equal((await held).status, "completed");
  assert.equal(await posts(prompt), 1);
});
