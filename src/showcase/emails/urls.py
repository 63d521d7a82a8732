"""Where the pages of the emails app are."""

from django.urls import path

from showcase.emails import views

app_name = "emails"

urlpatterns = [
    path("", views.send, name="send"),
    path("bulk", views.bulk, name="bulk"),
    path("newsletter", views.start_newsletter, name="newsletter"),
    path("batch/<uuid:pk>/", views.batch, name="batch"),
]
