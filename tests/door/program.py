# A program for Google's endpoint, after the samples of its documentation. Nothing in it knows of Nightdesk:
# key and base URL are the client's own environment variables, GEMINI_API_KEY and GOOGLE_GEMINI_BASE_URL.
import time
from typing import Any

from google import genai

client = genai.Client()
api: Any = client.interactions

# 1. A run in the background, polled.
interaction = api.create(
    model="gemini-3.8-flash",
    input="Why do owls fly so quietly?",
    background=True,
)
while interaction.status == "in_progress":
    time.sleep(0.2)
    interaction = api.get(interaction.id)
print(interaction.status, interaction.output_text)

# 2. Function calling.
tools = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "Gets the weather for a given location.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string", "description": "The city, e.g. Bonn"}},
            "required": ["location"],
        },
    }
]
interaction = api.create(model="gemini-3.8-flash", input="What is the weather in Bonn?", tools=tools)
for step in interaction.steps:
    if step.type == "function_call":
        result = {"location": step.arguments["location"], "sky": "clear"}
        interaction = api.create(
            model="gemini-3.8-flash",
            previous_interaction_id=interaction.id,
            input=[{"type": "function_result", "name": step.name, "call_id": step.id, "result": result}],
            tools=tools,
        )
print(interaction.status, interaction.output_text)

# 3. A stream.
for event in api.create(model="gemini-3.8-flash", input="Name an owl.", stream=True):
    if event.event_type == "step.delta" and event.delta.type == "text":
        print(event.delta.text, end="")
print()
client.close()
