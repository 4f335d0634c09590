"""The addresses of the admin app: `root` at /, `api` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver, path
from django.views.i18n import set_language

from apps.admin import views
from apps.admin.api import accounts, credentials, operations

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
    path("login", views.login, name="login"),
    path("logout", views.logout, name="logout"),
    path("account", views.account, name="account"),
    path("account/end-other-sessions", views.end_other_sessions, name="account-sessions"),
    path("theme", views.theme, name="theme"),
    path("language", set_language, name="language"),
]
