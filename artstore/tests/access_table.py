"""Who may use which door: the whole of it, written down once, by hand.

Deliberately not made from `apps.admin.permissions`, which it checks. A door without a row here
fails `test_access_matrix.py`. Kept beside it so that a reader sees the table without the machinery.
"""

ADMIN = frozenset({"admin"})
PEOPLE = frozenset({"admin", "readonly"})
EVERYBODY = frozenset({"everybody"})


def _and(people: frozenset[str], *scopes: str) -> frozenset[str]:
    return people | set(scopes)


READ_FILES = _and(PEOPLE, "files:read", "every scope")
WRITE_FILES = _and(ADMIN, "files:write", "every scope")
# Two scopes at once, which no account with a single one has.
REGISTER_FILES = _and(ADMIN, "every scope")
READ_ELEMENTS = _and(PEOPLE, "storage:read", "every scope")
OPERATE_ELEMENTS = _and(ADMIN, "storage:write", "every scope")
READ_IDENTITY = _and(PEOPLE, "admin:read", "every scope")
WRITE_IDENTITY = _and(ADMIN, "admin:write", "every scope")

# (method, address under /api/v1/) -> the callers who get further than 401 and 403.
API: dict[tuple[str, str], frozenset[str]] = {
    ("POST", "auth/token"): EVERYBODY,
    ("GET", "auth/jwks"): EVERYBODY,
    ("POST", "admin-auth/login"): EVERYBODY,
    ("POST", "admin-auth/refresh"): EVERYBODY,
    ("POST", "admin-auth/logout"): PEOPLE,
    ("GET", "admin-auth/me"): PEOPLE,
    ("POST", "admin-auth/change-password"): PEOPLE,
    ("GET", "admin-users"): READ_IDENTITY,
    ("POST", "admin-users"): WRITE_IDENTITY,
    ("GET", "admin-users/<uuid:user_id>"): READ_IDENTITY,
    ("PATCH", "admin-users/<uuid:user_id>"): WRITE_IDENTITY,
    ("DELETE", "admin-users/<uuid:user_id>"): WRITE_IDENTITY,
    ("POST", "admin-users/<uuid:user_id>/reset-password"): WRITE_IDENTITY,
    ("POST", "admin-users/<uuid:user_id>/unlock"): WRITE_IDENTITY,
    ("GET", "service-accounts"): READ_IDENTITY,
    ("POST", "service-accounts"): WRITE_IDENTITY,
    ("GET", "service-accounts/<uuid:account_id>"): READ_IDENTITY,
    ("PATCH", "service-accounts/<uuid:account_id>"): WRITE_IDENTITY,
    ("DELETE", "service-accounts/<uuid:account_id>"): WRITE_IDENTITY,
    ("POST", "service-accounts/<uuid:account_id>/rotate-secret"): WRITE_IDENTITY,
    ("GET", "jwt-keys/status"): READ_IDENTITY,
    ("POST", "jwt-keys/rotate"): WRITE_IDENTITY,
    ("GET", "audit-events"): READ_IDENTITY,
    ("GET", "storage-elements"): READ_ELEMENTS,
    ("POST", "storage-elements"): ADMIN,
    ("POST", "storage-elements/discover"): ADMIN,
    ("GET", "storage-elements/<uuid:element_id>"): READ_ELEMENTS,
    ("PATCH", "storage-elements/<uuid:element_id>"): ADMIN,
    ("DELETE", "storage-elements/<uuid:element_id>"): ADMIN,
    ("POST", "storage-elements/<uuid:element_id>/mode"): OPERATE_ELEMENTS,
    ("POST", "storage-elements/<uuid:element_id>/probe"): OPERATE_ELEMENTS,
    ("POST", "storage-elements/<uuid:element_id>/reconcile"): OPERATE_ELEMENTS,
    ("POST", "storage-elements/<uuid:element_id>/sync"): OPERATE_ELEMENTS,
    ("GET", "storage-elements/<uuid:element_id>/sync-runs"): READ_ELEMENTS,
    ("GET", "sync-runs/<uuid:run_id>"): READ_ELEMENTS,
    ("GET", "files"): READ_FILES,
    ("POST", "files"): REGISTER_FILES,
    ("GET", "files/<uuid:file_id>"): READ_FILES,
    ("PATCH", "files/<uuid:file_id>"): WRITE_FILES,
    ("DELETE", "files/<uuid:file_id>"): WRITE_FILES,
    ("POST", "files/upload"): WRITE_FILES,
    ("PUT", "files/upload"): WRITE_FILES,
    ("POST", "search"): READ_FILES,
    ("GET", "files/<uuid:file_id>/download"): READ_FILES,
}

# Addresses outside /api/v1/ and /console/ that answer without a token, and why that is right.
OPEN: dict[str, str] = {
    "health/live": "says only that the process answers",
    "health/ready": "names dependencies and nothing about them",
    "metrics": "counts; a cluster keeps it behind its own network",
    "api/schema": "the contract, which is public",
    "api/docs": "the same, to browse",
    ".well-known/jwks.json": "public keys",
    "": "sends a browser to the console",
}

# Pages take sessions only: service accounts never see one.
_READ = {"GET": PEOPLE}
_ACT = {"POST": ADMIN}
_FORM = {"GET": ADMIN, "POST": ADMIN}
_OWN = {"GET": PEOPLE, "POST": PEOPLE}

# Address under /console/ -> method -> the roles that get further than the login page and 403.
# A method that is not named answers 405 to everybody who is signed in.
PAGES: dict[str, dict[str, frozenset[str]]] = {
    "login": {"GET": EVERYBODY, "POST": EVERYBODY},
    "logout": {"POST": EVERYBODY},
    "theme": {"POST": EVERYBODY},
    "language": {"GET": EVERYBODY, "POST": EVERYBODY},
    "account": _OWN,
    "account/end-other-sessions": {"POST": PEOPLE},
    "users": _READ,
    "users/create": _FORM,
    "users/<uuid:user_id>": {"GET": PEOPLE, "POST": ADMIN},
    "users/<uuid:user_id>/password": _FORM,
    "users/<uuid:user_id>/unlock": _ACT,
    "users/<uuid:user_id>/remove": _FORM,
    "service-accounts": _READ,
    "service-accounts/create": _FORM,
    "service-accounts/<uuid:account_id>": {"GET": PEOPLE, "POST": ADMIN},
    "service-accounts/<uuid:account_id>/rotate": _FORM,
    "service-accounts/<uuid:account_id>/suspend": _ACT,
    "service-accounts/<uuid:account_id>/remove": _FORM,
    "keys": _READ,
    "keys/rotate": _FORM,
    "audit": _READ,
    "audit/export": _READ,
    "": _READ,
    "elements": _READ,
    "elements/register": _FORM,
    "elements/<uuid:element_id>": _READ,
    "elements/<uuid:element_id>/edit": _FORM,
    "elements/<uuid:element_id>/remove": _FORM,
    "elements/<uuid:element_id>/probe": _ACT,
    "elements/<uuid:element_id>/sync": _ACT,
    "elements/<uuid:element_id>/mode": _FORM,
    "elements/<uuid:element_id>/maintenance": _ACT,
    "elements/<uuid:element_id>/instance": _ACT,
    "elements/<uuid:element_id>/reconcile": _ACT,
    "elements/<uuid:element_id>/findings": _READ,
    "elements/<uuid:element_id>/garbage": _FORM,
    "elements/<uuid:element_id>/files": _READ,
    "runs": _READ,
    "runs/<uuid:run_id>": _READ,
    "files": _READ,
    "files/export": _READ,
    "files/bulk/delete": _FORM,
    "files/bulk/tags": _FORM,
    "files/<uuid:file_id>": _READ,
    "files/<uuid:file_id>/preview": _READ,
    "files/<uuid:file_id>/verified": _READ,
    "files/<uuid:file_id>/edit": _FORM,
    "files/<uuid:file_id>/delete": _FORM,
    "files/<uuid:file_id>/download": _READ,
    "upload": _FORM,
}

# Commands act as the system: whoever has this shell has the database and its keys anyway. What is
# said here is whether a command changes anything, and what the audit log calls the change.
COMMANDS: dict[str, str] = {
    "compare_element": "reads",
    "element_cas": "reads",
    "list_elements": "reads",
    "migrate": "Django's own",
    "rebuild_registry": "makes records match files",
    "register_element": "element.register",
    "register_nodes": "element.register",
    "set_element_mode": "element.mode",
    "sync_elements": "makes records match files",
    "bootstrap": "key.create, user.create, service_account.create",
    "create_service_account": "service_account.create",
    "create_user": "user.create",
    "delete_service_account": "service_account.delete",
    "delete_user": "user.delete",
    "edit_service_account": "service_account.edit",
    "edit_user": "user.edit",
    "list_service_accounts": "reads",
    "list_users": "reads",
    "prune_audit_events": "audit.prune",
    "reset_password": "user.reset_password",
    "rotate_service_account_secret": "service_account.rotate_secret",
    "rotate_signing_key": "key.rotate",
    "unlock_user": "user.unlock",
    "download_file": "reads",
    "find_files": "reads",
    "upload_file": "a file; uploads are not audited",
    "smoke": "acts over HTTP with a token of its own",
    "write_schema": "writes docs/openapi",
}
