"""`ready.json`: how to reach the running system, for programs. There while it is up, else not.

Its keys are a contract: other programs' scripts read them.
"""

import json
from collections.abc import Mapping

from artstore.embedded import secret_files
from artstore.embedded.plan import ADMIN_USERNAME, Plan


def write(plan: Plan, database_url: str, pids: Mapping[str, int | None]) -> None:
    """`pids` by the name of each child; roles that share a process get its id."""
    layout = plan.layout
    content = {
        "base_url": plan.base_url,
        "console_url": plan.console_url,
        "ca_file": str(layout.ca_file),
        "admin_username": ADMIN_USERNAME,
        "admin_password_file": str(layout.admin_password_file),
        "database_url": database_url,
        "elements": [
            {
                "storage_id": element.storage_id,
                "url": element.url,
                "mode": element.mode,
                "data_dir": str(element.data_dir),
                "pid": pids.get(element.storage_id),
            }
            for element in plan.elements
        ],
        "pids": {
            "web": pids.get("web"),
            "transfer": pids.get("web"),
            "worker": pids.get("worker"),
            "beat": pids.get("beat"),
            # Null where DATABASE_URL named somebody else's server.
            "postgres": pids.get("postgres"),
        },
    }
    secret_files.write(layout.ready_file, json.dumps(content, indent=2) + "\n")


def remove(plan: Plan) -> None:
    plan.layout.ready_file.unlink(missing_ok=True)
