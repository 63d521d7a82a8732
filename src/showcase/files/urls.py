"""Where the pages of the files app are."""

from django.urls import path

from showcase.files import views

app_name = "files"

urlpatterns = [
    path("", views.files, name="files"),
    path("samples/<str:name>", views.sample, name="sample"),
    path("<uuid:pk>/", views.job, name="job"),
    path("<uuid:pk>/delete", views.delete, name="delete"),
    path("<uuid:pk>/<str:name>", views.download, name="download"),
]
