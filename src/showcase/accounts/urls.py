"""Where one signs in and out, and makes an account."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from showcase.accounts import views

app_name = "accounts"

urlpatterns = [
    path("login", LoginView.as_view(template_name="accounts/login.html"), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("create", views.create, name="create"),
]
