// Webhooks as they come from a whole installation, verified as the README says, by the library that anybody can install.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { Webhook } from "standardwebhooks";

const { NIGHTDESK_URL, NIGHTDESK_KEY } = process.env;

async function post(path, fields = {}) {
  const headers = { Authorization: `Bearer ${NIGHTDESK_KEY}`, "Content-Type": "application/json" };
  const answer = await fetch(NIGHTDESK_URL + path, { method: "POST", headers, body: JSON.stringify(fields) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

// Takes one webhook: its headers, and its body as it came.
async function received(server) {
  const [request, response] = await once(server, "request", { signal: AbortSignal.timeout(120_000) });
  const chunks = await request.toArray();
  response.writeHead(204).end();
  return { headers: request.headers, body: Buffer.concat(chunks).toString() };
}

test("an event is verified, and nothing that was changed or signed with another secret", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}/hook`;
  const { id, secret } = await post("/v1/webhooks", { url, events: ["job.completed"] });

  const coming = received(server);
  const job = await post("/v1/jobs", { model: "gemini-3.8-flash", input: "Wie groß sind Eulen?" });
  const { body, headers } = await coming;
  const pinged = received(server);
  const { secret: renewed } = await post(`/v1/webhooks/${id}/rotate-secret`);
  await post(`/v1/webhooks/${id}/ping`);
  const ping = await pinged;

  const event = new Webhook(secret).verify(body, headers);
  assert.equal(event.type, "job.completed");
  assert.equal(event.data.id, job.id);
  assert.match(event.data.output_text, /groß/);
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers), { name: "WebhookVerificationError" });
  assert.throws(() => new Webhook(renewed).verify(body, headers), { name: "WebhookVerificationError" });
  for (const live of [secret, renewed]) {
    assert.equal(new Webhook(live).verify(ping.body, ping.headers).type, "webhook.ping");
  }
});
