"""Where the pages are."""

from django.urls import include, path

from showcase import views

urlpatterns = [
    path("", views.home, name="home"),
    path("health", views.health, name="health"),
    path("assets/<str:name>", views.asset, name="asset"),
    path("accounts/", include("showcase.accounts.urls")),
    path("executions/", include("showcase.executions.urls")),
    path("files/", include("showcase.files.urls")),
    path("analysis/", include("showcase.analysis.urls")),
    path("emails/", include("showcase.emails.urls")),
]
