"""Posts, pages, comments and options, and who may write them. Edge."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.demo.platform import PASSWORD, Member, Platform
from tests.demo.test_pages import submit


def test_the_administrator_publishes_and_everybody_reads(admin: Member, platform: Platform) -> None:
    added = admin.post("/posts", title="News", body="First line\n\nSecond")
    assert added.status_code == 201
    post = added.json()["post"]
    anybody = httpx.get(f"{admin.http.base_url}/posts/{post['id']}")
    assert "Second" in anybody.text and "News" in httpx.get(f"{admin.http.base_url}/").text
    assert admin.get("/posts", limit=1)["posts"] == [post]
    on = [n for n in range(3) if platform.ask(n, "SELECT 1 FROM sqlite_master WHERE name = 'posts'")]
    assert on == [2]  # pinned by the file


def test_a_page_is_added_once_and_then_changed(admin: Member) -> None:
    for title in ("One", "Two"):
        saved = admin.http.put("/api/pages/house-rules", json={"title": title, "body": "Be kind."})
        assert saved.status_code == 200
    assert [p["title"] for p in admin.get("/pages")["pages"] if p["slug"] == "house-rules"] == ["Two"]
    with admin.browser() as mine:
        fields = {"title": "Three", "slug": "house-rules", "body": "Be kinder."}
        assert submit(mine, "/admin/page", **fields).headers["location"] == "/pages/house-rules"
        assert "Be kinder." in mine.get("/pages/house-rules").text
        bad = submit(mine, "/admin/page", title="T", slug="No Spaces", body="b")
        assert bad.status_code == 422 and "small letters" in bad.text


def test_nobody_else_publishes(member: Callable[[], Member]) -> None:
    one = member()
    assert one.post("/posts", title="t", body="b").status_code == 403
    assert one.http.put("/api/pages/about", json={"title": "t", "body": "b"}).status_code == 403
    assert one.http.get("/api/options").status_code == 403
    with one.browser() as mine:
        for path in ("/admin/options", "/admin/post", "/admin/page"):
            assert mine.get(path).status_code == 403
            assert mine.post(path, data={"title": "t", "body": "b"}).status_code == 403


def test_people_comment_on_posts_and_pages(member: Callable[[], Member]) -> None:
    one = member()
    assert one.post("/posts/2/comments", body="Well said").status_code == 201
    assert one.get("/posts/2/comments", limit=1)["comments"][0]["body"] == "Well said"
    with one.browser() as mine:
        said = submit(mine, "/pages/terms", body="Fine\n\nwith me")
        assert said.headers["location"] == "/pages/terms#comments"
        assert "with me" in mine.get("/pages/terms").text
        assert submit(mine, "/pages/terms", body=" ").status_code == 422
    page = one.get("/pages/terms/comments")
    assert [c["body"] for c in page["comments"]] == ["Fine\n\nwith me"]
    assert one.post("/posts/999999/comments", body="x").status_code == 404
    answer = httpx.post(f"{one.http.base_url}/api/posts/2/comments", json={"body": "x"})
    assert answer.status_code == 401


def test_comments_are_paged(member: Callable[[], Member]) -> None:
    one = member()
    written = [one.post("/posts/3/comments", body=f"remark {n}").json()["comment"]["id"] for n in range(5)]
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = one.get("/posts/3/comments", limit=2, **before)
        seen += [comment["id"] for comment in page["comments"]]
        if page["next_before"] is None:
            break
        before = {"before": page["next_before"]}
    assert seen[:5] == written[::-1] and len(seen) == len(set(seen))


def test_options_change_the_site(admin: Member, member: Callable[[], Member]) -> None:
    one = member()
    application = {"email": "late@example.org", "name": "Late", "password": PASSWORD, "currency": "EUR"}
    try:
        changed = admin.http.patch("/api/options", json={"sign_ups": "closed", "comments": "closed"})
        assert changed.status_code == 200
        assert httpx.post(f"{admin.http.base_url}/api/users", json=application).status_code == 403
        assert one.post("/posts/1/comments", body="x").status_code == 403
    finally:
        admin.http.patch("/api/options", json={"sign_ups": "open", "comments": "open"})
    with admin.browser() as mine:
        fields = {"site_title": "The <Ledger>", "site_tagline": "", "sign_ups": "open", "comments": "open"}
        assert submit(mine, "/admin/options", **fields).status_code == 303
        assert "The &lt;Ledger&gt;" in mine.get("/").text
        assert submit(mine, "/admin/options", **{**fields, "sign_ups": "ajar"}).status_code == 422
    admin_id = admin.get("/options")["options"]["admin_id"]
    assert admin.http.patch("/api/options", json={"admin_id": one.id}).status_code == 422
    assert admin.get("/options")["options"]["admin_id"] == admin_id
