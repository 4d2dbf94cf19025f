// Keeps the page up to date: the counter as it changes, and the end of the session at once.
(() => {
  const number = document.querySelector(".counter .number");
  let pause = 1000;
  const connect = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws");
    socket.onopen = () => { pause = 1000; };
    socket.onmessage = (message) => {
      const told = JSON.parse(message.data);
      if (told.type === "counter") number.textContent = told.counter;
    };
    socket.onclose = (close) => {
      // 1008: the session has ended. Anything else is the network, or a restart.
      if (close.code === 1008) return location.replace("/");
      setTimeout(connect, pause);
      pause = Math.min(2 * pause, 60000);
    };
  };
  connect();
})();
