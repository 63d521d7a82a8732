"""Where the pages of executions are."""

from django.urls import path

from showcase.executions import views

app_name = "executions"

urlpatterns = [
    path("", views.recent, name="recent"),
    path("<uuid:pk>/", views.execution, name="execution"),
    path("<uuid:pk>/cancel", views.cancel, name="cancel"),
    path("<uuid:pk>/retry", views.retry, name="retry"),
]
