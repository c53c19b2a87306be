"""Posts a text to a Slack-compatible webhook, within seconds, and never tells the webhook's address to anybody.

The address is a secret: whoever knows it can post. So nothing here logs, and of an error only its kind is told.
"""

import asyncio

POST_SECONDS = 5.0
"""For the whole exchange, however slowly it drips: a tick must end long before Dagster's limit of 60 s."""


def post(url: str, text: str, *, seconds: float = POST_SECONDS) -> str | None:
    """Post `text`; returns why it was not taken, None when it was."""
    return asyncio.run(_post(url, text, seconds))


async def _post(url: str, text: str, seconds: float) -> str | None:
    import aiohttp

    limit = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=False) as session,
            session.post(url, json={"text": text}, allow_redirects=False) as reply,
        ):
            status = reply.status
    except TimeoutError:
        return f"The alert webhook did not answer within {seconds:g} s."
    except (aiohttp.ClientError, OSError) as error:
        return f"The alert webhook cannot be reached: {type(error).__name__}."
    return None if status // 100 == 2 else f"The alert webhook answered {status}; check CATA_ALERT_WEBHOOK_URL."  # noqa: PLR2004
