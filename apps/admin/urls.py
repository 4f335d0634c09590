"""The addresses of the admin app: `root` at /, `api` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver, path
from django.views.i18n import set_language

from apps.admin.api import accounts, credentials, operations
from apps.admin.views import operations as doings
from apps.admin.views import service_accounts as programs
from apps.admin.views import session, users

root: list[URLPattern | URLResolver] = [
    path(".well-known/jwks.json", credentials.WellKnownJwksView.as_view(), name="well-known-jwks"),
]
api: list[URLPattern | URLResolver] = [
    path("auth/token", credentials.TokenView.as_view(), name="token"),
    path("auth/jwks", credentials.JwksView.as_view(), name="jwks"),
    path("admin-auth/login", credentials.LoginView.as_view()),
    path("admin-auth/refresh", credentials.RefreshView.as_view()),
    path("admin-auth/logout", credentials.LogoutView.as_view()),
    path("admin-auth/me", credentials.MeView.as_view()),
    path("admin-auth/change-password", credentials.ChangePasswordView.as_view()),
    path("admin-users", accounts.UsersView.as_view()),
    path("admin-users/<uuid:user_id>", accounts.UserView.as_view()),
    path("admin-users/<uuid:user_id>/reset-password", accounts.ResetPasswordView.as_view()),
    path("admin-users/<uuid:user_id>/unlock", accounts.UnlockView.as_view()),
    path("service-accounts", accounts.ServiceAccountsView.as_view()),
    path("service-accounts/<uuid:account_id>", accounts.ServiceAccountView.as_view()),
    path("service-accounts/<uuid:account_id>/rotate-secret", accounts.RotateSecretView.as_view()),
    path("jwt-keys/status", operations.KeyStatusView.as_view()),
    path("jwt-keys/rotate", operations.RotateKeyView.as_view()),
    path("audit-events", operations.AuditEventsView.as_view()),
]
pages: list[URLPattern | URLResolver] = [
    path("login", session.login, name="login"),
    path("logout", session.logout, name="logout"),
    path("account", session.account, name="account"),
    path("account/end-other-sessions", session.end_other_sessions, name="account-sessions"),
    path("theme", session.theme, name="theme"),
    path("language", set_language, name="language"),
    path("users", users.user_list, name="users"),
    path("users/create", users.create, name="users-create"),
    path("users/<uuid:user_id>", users.user, name="users-detail"),
    path("users/<uuid:user_id>/password", users.reset_password, name="users-password"),
    path("users/<uuid:user_id>/unlock", users.unlock, name="users-unlock"),
    path("users/<uuid:user_id>/remove", users.remove, name="users-remove"),
    path("service-accounts", programs.account_list, name="services"),
    path("service-accounts/create", programs.create, name="services-create"),
    path("service-accounts/<uuid:account_id>", programs.account, name="services-detail"),
    path("service-accounts/<uuid:account_id>/rotate", programs.rotate, name="services-rotate"),
    path("service-accounts/<uuid:account_id>/suspend", programs.suspend, name="services-suspend"),
    path("service-accounts/<uuid:account_id>/remove", programs.remove, name="services-remove"),
    path("keys", doings.key_list, name="keys"),
    path("keys/rotate", doings.rotate_key, name="keys-rotate"),
    path("audit", doings.audit_list, name="audit"),
    path("audit/export", doings.audit_export, name="audit-export"),
]
