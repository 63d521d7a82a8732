"""Where the pages of the analysis app are."""

from django.urls import path

from showcase.analysis import views

app_name = "analysis"

urlpatterns = [
    path("", views.analyses, name="analyses"),
    path("<uuid:pk>/", views.analysis, name="analysis"),
    path("<uuid:pk>/delete", views.delete, name="delete"),
    path("<uuid:pk>/<str:name>", views.download, name="download"),
]
