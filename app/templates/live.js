// Shows a changed counter, and leaves the page as soon as the session ends.
(() => {
  const number = document.querySelector(".counter .number");
  let pause = 1000;
  // A form of this page may end the session: then its answer is shown.
  let leaving = false;
  addEventListener("submit", () => { leaving = true; });
  const connect = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws");
    socket.onopen = () => { pause = 1000; };
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "counter") number.textContent = message.counter;
    };
    socket.onclose = (event) => {
      if (leaving) return;
      // 1008: the session has ended. Other codes: a network error, or a restart of the server.
      if (event.code === 1008) return location.replace("/?message=session-ended");
      setTimeout(connect, pause);
      pause = Math.min(2 * pause, 60000);
    };
  };
  connect();
})();
