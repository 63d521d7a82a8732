"""Where the pages of the emails app are."""

from django.urls import path

from showcase.emails import views

app_name = "emails"

urlpatterns = [
    path("", views.send, name="send"),
    path("bulk", views.bulk, name="bulk"),
    path("recent", views.recent, name="recent"),
    path("newsletter", views.start_newsletter, name="newsletter"),
    path("batch/<uuid:pk>/", views.batch, name="batch"),
    path("<uuid:pk>/", views.execution, name="execution"),
    path("<uuid:pk>/cancel", views.cancel, name="cancel"),
    path("<uuid:pk>/retry", views.retry, name="retry"),
]
