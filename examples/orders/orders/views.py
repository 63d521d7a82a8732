"""The pages, and their addresses."""

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.tasks import fulfil


@csrf_exempt
@require_POST
def place(_: HttpRequest, number: int) -> JsonResponse:
    """Begin an order; a second click begins no second one."""
    result = fulfil.using(idempotency_key=number).enqueue(number)
    return JsonResponse({"id": result.id}, status=202)


@csrf_exempt
@require_POST
def paid(request: HttpRequest, id_: str) -> JsonResponse:
    """Take the payment's notice, and have the order go on."""
    fulfil.get_result(id_).signal("paid", {"by": request.GET.get("by", "somebody")})
    return JsonResponse({}, status=202)


def show(_: HttpRequest, id_: str) -> JsonResponse:
    """Say how far an order is."""
    result = fulfil.get_result(id_)
    done = result.return_value if result.phase == "succeeded" else None
    return JsonResponse({"phase": result.phase, "engine": result.engine, "done": done})


urlpatterns = [
    path("orders/<int:number>/", place),
    path("orders/<str:id_>/paid/", paid),
    path("orders/<str:id_>/", show),
]
