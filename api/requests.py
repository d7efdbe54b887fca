"""The examples of `POST /v1/jobs`: one for each thing that the Interactions API can do. Tests submit every one.

Ids and addresses stand for your own.
"""

from typing import Any

from api.examples import AGENT, CITY_TOOLS, EXTRACTION, FILE, HOOK, JOB_ID, MODEL, RESEARCH, RUN_ID

ANTIGRAVITY = "antigravity-preview-09-2026"
OWN_AGENT, OWN_MENDER = "my-data-agent", "my-code-mender"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
TABLE = "Y2l0eSxwZW9wbGUKQm9ubiwzMzYwMDAKS8O2bG4sMTA4NzAwMAo="


def _said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _with(tool: dict[str, Any], text: str) -> dict[str, Any]:
    return {"model": MODEL, "input": text, "tools": [tool]}


INPUTS: dict[str, tuple[str, Any]] = {
    "text": ("A text", {"model": MODEL, "input": "Summarise the minutes in three sentences."}),
    "conversation": (
        "A conversation, as steps",
        {
            "model": MODEL,
            "input": [
                {"type": "user_input", "content": [_said("Which owl hunts by day?")]},
                {"type": "model_output", "content": [_said("The northern hawk-owl.")]},
                {"type": "user_input", "content": [_said("Where does it live?")]},
            ],
        },
    ),
    "image_inline": (
        "An image in the request, in base64",
        {
            "model": MODEL,
            "input": [_said("What is this?"), {"type": "image", "mime_type": "image/png", "data": PIXEL}],
        },
    ),
    "image_by_uri": (
        "An image by its address",
        {
            "model": MODEL,
            "input": [
                _said("Which birds do you see?"),
                {
                    "type": "image",
                    "mime_type": "image/jpeg",
                    "uri": "https://example.com/pond.jpg",
                    "resolution": "high",
                },
            ],
        },
    ),
    "uploaded": (
        "A document uploaded with `POST /v1/files`",
        {
            "model": MODEL,
            "input": [
                _said("What does the contract say about notice?"),
                {"type": "document", "mime_type": "application/pdf", "uri": FILE["uri"]},
            ],
        },
    ),
    "document": (
        "A document in the request, in base64",
        {
            "model": MODEL,
            "input": [_said("Which city is larger?"), {"type": "document", "mime_type": "text/csv", "data": TABLE}],
        },
    ),
    "audio": (
        "Speech to text",
        {
            "model": "gemini-3.5-transcribe",
            "input": [{"type": "audio", "mime_type": "audio/mpeg", "uri": "https://example.com/interview.mp3"}],
            "generation_config": {
                "transcription_config": {"language_codes": ["de-DE"], "custom_vocabulary": ["Nightdesk"]}
            },
        },
    ),
    "video": (
        "A part of a video",
        {
            "model": MODEL,
            "input": [
                _said("What is shown here?"),
                {
                    "type": "video",
                    "uri": "https://www.youtube.com/watch?v=9hE5-98ZeCg",
                    "processing": {"type": "static", "start_offset": "40s", "end_offset": "80s", "fps": 1},
                },
            ],
        },
    ),
    "settings": (
        "Instructions, settings, tier and labels",
        {
            "model": MODEL,
            "input": "Name three owls.",
            "system_instruction": "You are a zoologist. Answer in one line.",
            "generation_config": {
                "thinking_level": "low",
                "thinking_summaries": "auto",
                "max_output_tokens": 2048,
                "stop_sequences": ["\n\n"],
                "seed": 7,
            },
            "safety_settings": [{"type": "harassment", "threshold": "block_only_high"}],
            "service_tier": "flex",
            "labels": {"team": "birds"},
        },
    ),
    "newer": (
        "A parameter that this release does not know",
        {"model": MODEL, "input": "Name three owls.", "extra_body": {"response_modalities": ["text"]}},
    ),
}

OUTPUTS: dict[str, tuple[str, Any]] = {
    "model": ("Structured output: `output_json` is filled", EXTRACTION),
    "speech": (
        "Two voices read a dialogue: the sound is an artifact",
        {
            "model": "gemini-3.8-flash-tts",
            "input": "Ada: Did you hear it?\nBert: An owl, I think.",
            "response_format": {"type": "audio", "mime_type": "audio/wav"},
            "generation_config": {
                "speech_config": [{"speaker": "Ada", "voice": "Kore"}, {"speaker": "Bert", "voice": "Puck"}]
            },
        },
    ),
    "image": (
        "A picture: it is an artifact",
        {
            "model": "gemini-3.1-flash-image",
            "input": "A barn owl at dusk, in watercolours.",
            "response_format": {"type": "image", "aspect_ratio": "16:9", "image_size": "2K"},
        },
    ),
    "music": ("Music", {"model": "lyria-3.5", "input": "A slow piece for two cellos, at night."}),
    "film": (
        "A video; the upstream keeps it and the job names its `uri`",
        {
            "model": "gemini-omni-1.2-flash",
            "input": "An owl takes off from a fence.",
            "response_format": {"type": "video", "aspect_ratio": "16:9", "duration": "8s", "delivery": "uri"},
            "generation_config": {"video_config": {"task": "text_to_video"}},
        },
    ),
}

TOOLS: dict[str, tuple[str, Any]] = {
    "functions": (
        "Functions of your own: the job waits for their results, see `/respond`",
        {
            "model": MODEL,
            "input": "What is the weather in Bonn?",
            "tools": CITY_TOOLS,
            "generation_config": {"tool_choice": "auto"},
            "action_timeout_seconds": 600,
        },
    ),
    "google_search": ("Google Search", _with({"type": "google_search"}, "Who found the last great auk?")),
    "code_execution": ("Code, run by the upstream", _with({"type": "code_execution"}, "The 50th prime number?")),
    "url_context": ("Pages", _with({"type": "url_context"}, "What does https://example.com say about domains?")),
    "file_search": (
        "Search in file stores",
        _with(
            {"type": "file_search", "file_search_store_names": ["fileSearchStores/handbook"], "top_k": 5},
            "How many days of leave are there?",
        ),
    ),
    "google_maps": (
        "Google Maps",
        _with({"type": "google_maps", "latitude": 50.7374, "longitude": 7.0982}, "Where can I drink coffee nearby?"),
    ),
    "computer_use": (
        "A browser, driven by your own program",
        _with({"type": "computer_use", "environment": "browser"}, "Open the browser and look at example.com."),
    ),
    "mcp_server": (
        "An MCP server; its headers are never shown again",
        _with(
            {
                "type": "mcp_server",
                "name": "library",
                "url": "https://mcp.example.com/library",
                "headers": {"Authorization": "Bearer …"},
                "allowed_tools": [{"mode": "any", "tools": ["look_up"]}],
            },
            "Which books about owls are there?",
        ),
    ),
    "retrieval": (
        "Retrieval from a corpus",
        _with(
            {
                "type": "retrieval",
                "retrieval_types": ["rag_store"],
                "rag_store_config": {"rag_resources": [{"rag_corpus": "corpora/birds"}], "similarity_top_k": 5},
            },
            "What do our field notes say about owls?",
        ),
    ),
    "tool_search": (
        "Many functions, found when they are needed",
        {
            "model": MODEL,
            "input": "Name three owls.",
            "tools": [{"type": "tool_search", "execution": "server"}, {**CITY_TOOLS[0], "defer_loading": True}],
        },
    ),
}

AGENTS: dict[str, tuple[str, Any]] = {
    "research": ("Deep Research, with a webhook", RESEARCH),
    "plan": (
        "Deep Research that shows its plan first, see `/plan`",
        {
            "agent": AGENT,
            "input": "How do heat pumps perform in old buildings in cold climates?",
            "agent_config": {"type": "deep-research", "collaborative_planning": True, "visualization": "auto"},
        },
    ),
    "research_in_own_files": (
        "Deep Research in your own files, under instructions that are put before the input",
        {
            "agent": AGENT,
            "input": "What have we learned about owls?",
            "system_instruction": "Write for zoologists, in British English.",
            "prepend_system_instruction": True,
            "tools": [
                {"type": "google_search"},
                {"type": "file_search", "file_search_store_names": ["fileSearchStores/field-notes"]},
            ],
        },
    ),
    "antigravity": (
        "Antigravity in a new environment",
        {
            "agent": ANTIGRAVITY,
            "input": "Write a program that plots the calls in calls.csv by hour.",
            "environment": "remote",
            "agent_config": {"type": "antigravity", "max_total_tokens": 200_000},
        },
    ),
    "environment": (
        "Antigravity with sources, variables and a network of its own; the variables are never shown again",
        {
            "agent": ANTIGRAVITY,
            "input": "Run the tests and mend what fails.",
            "environment": {
                "type": "remote",
                "sources": [
                    {"type": "repository", "source": "https://github.com/example/owls", "target": "/work/owls"},
                    {"type": "inline", "content": "b3dscwo=", "encoding": "base64", "target": "/work/birds.txt"},
                ],
                "env": {"LANG": "C.UTF-8", "API_TOKEN": {"credential": "credentials/owls"}},
                "network": {"allowlist": [{"domain": "pypi.org"}]},
            },
        },
    ),
    "own_agent": (
        "An agent of your own",
        {"agent": OWN_AGENT, "input": "Any news?", "agent_config": {"type": "dynamic", "depth": 2}},
    ),
    "code_mender": (
        "An agent that finds and mends faults in code",
        {
            "agent": OWN_MENDER,
            "input": "Look for faults.",
            "agent_config": {
                "type": "code-mender",
                "session_config": {"max_rounds": 3},
                "find_request": {"mode": "scan", "source_files": [{"path": "owl.py", "content": "print(owl)\n"}]},
            },
        },
    ),
}

LIVES: dict[str, tuple[str, Any]] = {
    "next": (
        "The next question of a conversation, asked when the job before has completed",
        {"model": MODEL, "input": "And by night?", "previous_job_id": JOB_ID},
    ),
    "continued": (
        "What was cut short (`incomplete`) goes on: in its conversation and, without another `environment`, in its own",
        {"agent": ANTIGRAVITY, "input": "continue", "previous_job_id": JOB_ID},
    ),
    "follow_up": (
        "A question about an interaction made elsewhere",
        {"model": MODEL, "input": "Shorten the report to a page.", "previous_interaction_id": RUN_ID},
    ),
    "later": (
        "At a time of its own, within limits, and never bought twice",
        {
            "model": MODEL,
            "input": "Summarise yesterday's calls.",
            "run_at": "2031-01-01T06:00:00Z",
            "priority": "low",
            "timeout_seconds": 600,
            "queue_timeout_seconds": 3600,
            "max_attempts": 1,
            "on_unknown_create": "fail",
            "strict_model": True,
            "retention_days": 7,
            "webhook_url": HOOK,
            "webhook_events": ["job.completed", "job.failed"],
        },
    ),
}

REQUESTS = INPUTS | OUTPUTS | TOOLS | AGENTS | LIVES
