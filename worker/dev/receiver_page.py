"""The receiver's page: one self-contained HTML document and the policy that allows its own script and style alone.

Whatever an event holds reaches the page as text nodes; there is no markup to inject into.
"""

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--paper:#fafaf9;--card:#fff;--ink:#1c1917;--soft:#78716c;--line:#e7e5e4;--well:#f5f5f4;
--good:#15803d;--bad:#b91c1c;--calm:#1d4ed8}
@media (prefers-color-scheme:dark){:root{--paper:#131211;--card:#1c1a19;--ink:#f5f5f4;--soft:#a8a29e;--line:#33302e;
--well:#151413;--good:#4ade80;--bad:#f87171;--calm:#93c5fd}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.4rem;margin:0}
header p,#empty{color:var(--soft);margin:.25rem 0 1.5rem}
code,pre,.id{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.85rem}
ol{list-style:none;margin:0;padding:0;display:grid;gap:.75rem}
li{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
.row{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}
.type{font-weight:600}
.id,.status,time{color:var(--soft);overflow-wrap:anywhere}
time{margin-left:auto;font-variant-numeric:tabular-nums}
.status{color:var(--calm)}
.verified{color:var(--good)}
.unverified{color:var(--bad)}
details{margin-top:.5rem}
summary{cursor:pointer;color:var(--soft);font-size:.9rem}
summary:focus-visible{outline:2px solid var(--calm);outline-offset:2px}
pre{background:var(--well);border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0 0;padding:.75rem;
max-height:32rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}
[hidden]{display:none}
"""

SCRIPT = """
"use strict";
const list = document.getElementById("events");
const state = document.getElementById("state");
const empty = document.getElementById("empty");
let after = 0;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function folded(title, text, open) {
  const details = element("details");
  details.open = open;
  details.append(element("summary", "", title), element("pre", "", text));
  return details;
}

function card(event) {
  const item = element("li");
  const row = element("div", "row");
  row.append(element("span", "type", event.type), element("span", "id", event.job_id));
  if (event.status) row.append(element("span", "status", event.status));
  row.append(event.verified ? element("span", "verified", "\\u2713 verified")
                            : element("span", "unverified", "\\u2717 " + event.note));
  const time = element("time", "", new Date(event.received_at).toLocaleTimeString());
  time.dateTime = event.received_at;
  row.append(time);
  item.append(row);
  const report = event.body && event.body.data && event.body.data.output_text;
  if (typeof report === "string" && report) item.append(folded("Report", report, true));
  const text = typeof event.body === "string" ? event.body : JSON.stringify(event.body, null, 2);
  item.append(folded("Event", text, false));
  return item;
}

async function refresh() {
  const answer = await (await fetch("events.json?after=" + after)).json();
  if (answer.last < after) { list.replaceChildren(); after = 0; return refresh(); }
  for (const event of answer.events) list.prepend(card(event));
  while (list.children.length > answer.keeps) list.lastElementChild.remove();
  after = answer.last;
  empty.hidden = list.children.length > 0;
}

async function watch() {
  try { await refresh(); state.textContent = "Listening."; }
  catch (error) { state.textContent = "The receiver does not answer. Trying again."; }
  setTimeout(watch, 1500);
}

document.getElementById("hook").textContent = new URL("hook", location.href).href;
watch();
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nightdesk receiver</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>Webhooks received</h1>
<p>Send them to <code id="hook"></code>. <span id="state" role="status"></span></p>
</header>
<p id="empty">Nothing has arrived yet.</p>
<ol id="events" aria-live="polite"></ol>
<noscript><p>This page needs JavaScript; the events are also at <a href="events.json">events.json</a>.</p></noscript>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def content_security_policy() -> str:
    """Allow the page's own script and style by their hashes, requests to its own origin, and nothing else."""
    return (
        f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
