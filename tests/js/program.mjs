// A program for Google's endpoint, after the samples of its documentation. Nothing in it knows of Nightdesk:
// key and base URL are the client's own environment variables, GEMINI_API_KEY and GOOGLE_GEMINI_BASE_URL.
import { setTimeout as sleep } from "node:timers/promises";

import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({});

// 1. A run in the background, polled.
let interaction = await client.interactions.create({
  model: "gemini-3.8-flash",
  input: "Why do owls fly so quietly?",
  background: true,
});
while (interaction.status === "in_progress") {
  await sleep(200);
  interaction = await client.interactions.get(interaction.id);
}
console.log(interaction.status, interaction.output_text);

// 2. Function calling.
const tools = [
  {
    type: "function",
    name: "get_weather",
    description: "Gets the weather for a given location.",
    parameters: {
      type: "object",
      properties: { location: { type: "string", description: "The city, e.g. Bonn" } },
      required: ["location"],
    },
  },
];
interaction = await client.interactions.create({
  model: "gemini-3.8-flash",
  input: "What is the weather in Bonn?",
  tools,
});
for (const step of interaction.steps) {
  if (step.type === "function_call") {
    const result = { location: step.arguments.location, sky: "clear" };
    interaction = await client.interactions.create({
      model: "gemini-3.8-flash",
      previous_interaction_id: interaction.id,
      input: [{ type: "function_result", name: step.name, call_id: step.id, result }],
      tools,
    });
  }
}
console.log(interaction.status, interaction.output_text);

// 3. A stream.
for await (const event of await client.interactions.create({
  model: "gemini-3.8-flash",
  input: "Name an owl.",
  stream: true,
})) {
  if (event.event_type === "step.delta" && event.delta.type === "text") process.stdout.write(event.delta.text);
}
console.log();
